"""A route as many Kongs have one already, to a provider and with its clients' own keys, which Bursar only observes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import httpx

from stack.errors import StackError
from stack.gateway import CONFIGURATION
from stack.readiness import eventually, http_answers

_PATH: Final = "/existing"
_WITHIN_S: Final = 30


def observed_service(
    ready: Mapping[str, Any],
    *,
    provider: str,
    protocol: str = "openai_chat",
    attribution: Mapping[str, str] | None = None,
    more_plugins: tuple[Mapping[str, Any], ...] = (),
) -> dict[str, Any]:
    """The service of such a route to the simulated provider, which the catalogue knows as `provider`; `attribution` is
    how `llm-key-auth` is to name teams."""
    observes = {"mode": "observe"}
    return {
        "name": "existing",
        "url": ready["provider"],
        "retries": 0,
        "routes": [
            {
                "name": "existing",
                "paths": [_PATH],
                "strip_path": True,
                "response_buffering": False,
                "plugins": [
                    {
                        "name": "llm-key-auth",
                        "config": {"organization": "acme", "protocol": protocol} | observes | dict(attribution or {}),
                    },
                    {"name": "llm-rate-limit", "config": {"protocol": protocol, "provider": provider} | observes},
                    {"name": "llm-guard", "config": {"protocol": protocol} | observes},
                    {"name": "llm-token-meter"},
                    *map(dict, more_plugins),
                ],
            }
        ],
    }


def add_service(ready: Mapping[str, Any], service: Mapping[str, Any]) -> str:
    """Give the running gateway this service beside Bursar's own, and return its address once it answers there.

    Raises:
        StackError: the gateway does not take it.
    """
    # The list of services is the last thing in that file, and what is JSON is YAML too.
    configure(ready, f"{CONFIGURATION.read_text()}\n  - {json.dumps(service)}\n")
    url = f"{ready['gateway']}{_PATH}"
    eventually(lambda: http_answers(url), f"the route {_PATH}", within_s=_WITHIN_S)
    return url


def configure(ready: Mapping[str, Any], configuration: str) -> None:
    """Give the running gateway another configuration.

    Raises:
        StackError: it does not take it.
    """
    answer = httpx.post(f"{ready['kong_admin']}/config", json={"config": configuration}, timeout=30)
    if answer.is_error:
        raise StackError(f"the gateway refuses the configuration: {answer.text}")
