"""Settings of a gateway node, from the environment only; a secret may lie in a file named by `<NAME>_FILE`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

_NUMBERS: Final = (
    "redis_timeout_ms",
    "deadline_ms",
    "lease_grace_ms",
    "max_request_bytes",
    "journal_max_bytes",
    "max_waiting",
    "max_waiting_bytes",
    "edges",
)


class MissingSetting(Exception):
    """Set the environment variable that the message names."""


class EdgeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the plugins of one node need to know; policy and keys come from Redis.

    A stream is ended at `deadline_ms` after its grant, and its hold expires at `deadline_ms + lease_grace_ms`.
    `journal_dir` is where usage is written before Redis is told; without it, none is. At most `max_waiting` calls wait
    on the node at once, with bodies of `max_waiting_bytes` together. `edges` is how many nodes share the limits, each
    by itself, while Redis is away.
    """

    redis_url: str
    key_pepper: str
    credential_key: str
    redis_timeout_ms: int = 100
    deadline_ms: int = 600_000
    lease_grace_ms: int = 300_000
    max_request_bytes: int = 10_485_760
    journal_dir: str | None = None
    journal_max_bytes: int | None = None
    max_waiting: int = 256
    max_waiting_bytes: int = 67_108_864
    edges: int = 1

    @property
    def lease_ms(self) -> int:
        return self.deadline_ms + self.lease_grace_ms


def edge_settings(environment: Mapping[str, str] = os.environ) -> EdgeSettings:
    """Read the node's settings.

    Raises:
        MissingSetting: a required variable is absent, or a number is not one.
    """
    optional = {
        name: _positive_integer(environment, f"BURSAR_{name.upper()}")
        for name in _NUMBERS
        if f"BURSAR_{name.upper()}" in environment
    }
    return EdgeSettings(
        redis_url=secret_from(environment, "REDIS_URL"),
        key_pepper=secret_from(environment, "BURSAR_KEY_PEPPER"),
        credential_key=secret_from(environment, "BURSAR_CREDENTIAL_KEY"),
        journal_dir=environment.get("BURSAR_JOURNAL_DIR") or None,
        **optional,
    )


def secret_from(environment: Mapping[str, str], name: str) -> str:
    """The value of `name`, or the content of the file that `<name>_FILE` points to.

    Raises:
        MissingSetting: neither is set, or the value is empty.
    """
    path = environment.get(f"{name}_FILE")
    value = Path(path).read_text().strip() if path else environment.get(name, "")
    if not value:
        raise MissingSetting(f"set {name}, or {name}_FILE to a file that holds it")
    return value


def _positive_integer(environment: Mapping[str, str], name: str) -> int:
    text = environment[name]
    if not text.isdecimal() or int(text) == 0:
        raise MissingSetting(f"{name} must be a positive whole number, not {text!r}")
    return int(text)
