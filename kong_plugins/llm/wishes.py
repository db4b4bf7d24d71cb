"""What a caller asks of Bursar in its headers, beside the call itself. What is unclear is refused: the other reading
would spend, or wait, where the caller has said that it must not."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from kong_plugins.llm.errors import InvalidRequest

Headers = Mapping[str, Sequence[str]]

DRY_RUN_HEADER: Final = "x-bursar-dry-run"
MAX_WAIT_HEADER: Final = "x-bursar-max-wait-ms"
DEGRADE_HEADER: Final = "x-bursar-degrade"
PARTIAL_HEADER: Final = "x-bursar-partial"

# How long the SDKs of OpenAI and Anthropic wait for an answer, in seconds: in Python, and in JavaScript.
_TIMEOUT_HEADERS: Final = ("x-stainless-read-timeout", "x-stainless-timeout")
# What is left of that is for the provider.
_PART_FOR_WAITING: Final = 0.8
_SECONDS: Final = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,9})?")


def is_dry_run(headers: Headers) -> bool:
    """Whether the caller only asks what would become of its call. Raises: InvalidRequest."""
    return _switch(headers, DRY_RUN_HEADER, default=False)


def may_degrade(headers: Headers) -> bool:
    """Whether another model may serve the call than the one that it names. Raises: InvalidRequest."""
    return _switch(headers, DEGRADE_HEADER, default=True)


def takes_partial(headers: Headers) -> bool:
    """Whether the call goes on with a shorter answer where a budget does not cover all that it asks for. Raises:
    InvalidRequest."""
    return _switch(headers, PARTIAL_HEADER, default=True)


def max_wait_ms(headers: Headers) -> int | None:
    """How long the call may wait in a line: as it says, or most of the time after which its SDK gives up; None for as
    long as it takes.

    Raises:
        InvalidRequest: it is no whole number of milliseconds.
    """
    values = headers.get(MAX_WAIT_HEADER, ())
    if not values:
        return _patience_ms(headers)
    if len(values) > 1 or re.fullmatch(r"[0-9]{1,9}", values[0]) is None:
        raise InvalidRequest(
            f"{MAX_WAIT_HEADER} must be a whole number of milliseconds, once; 0 is for not at all.",
            param=MAX_WAIT_HEADER,
        )
    return int(values[0])


def _patience_ms(headers: Headers) -> int | None:
    values = [value for name in _TIMEOUT_HEADERS for value in headers.get(name, ())]
    seconds = [float(value) for value in values if _SECONDS.fullmatch(value)]
    return int(min(seconds) * 1000 * _PART_FOR_WAITING) if seconds else None


def _switch(headers: Headers, name: str, *, default: bool) -> bool:
    values = list(headers.get(name, ()))
    if values not in ([], ["0"], ["1"]):
        raise InvalidRequest(f"{name} must be 1 or 0, once.", param=name)
    return values == ["1"] if values else default
