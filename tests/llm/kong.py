"""Kong's side of the PDK for one request, as a worker of Kong 3.9 plays it for plugins outside it.

Values travel through MessagePack as they do over the socket; only the phases' own methods answer; a None hides what
follows it; nothing may be called after the exit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgpack
from kong_pdk.module import Module
from kong_pdk.pdk import FakeClasses

PLUGINS: Final = Path(__file__).parents[2] / "kong_plugins"

_PHASES: Final = {
    "access": {
        "kong.request.get_headers",
        "kong.request.get_path",
        "kong.request.get_path_with_query",
        "kong.request.get_raw_body",
        "kong.request.get_raw_query",
        "kong.client.get_consumer",
        "kong.client.get_forwarded_ip",
        "kong.router.get_route",
        "kong.ctx.shared.get",
        "kong.ctx.shared.set",
        "kong.client.authenticate",
        "kong.response.exit",
        "kong.log.err",
    },
    "log": {"kong.request.get_headers", "kong.ctx.shared.get", "kong.ctx.shared.set", "kong.log.err"},
}


class KongRequest:
    """A request on its way through Kong, with what the plugins have done to it."""

    def __init__(self, body: bytes = b"", **headers: str | list[str]) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.headers = {name: [value] if isinstance(value, str) else value for name, value in named.items()}
        self.headers.setdefault("content-length", [str(len(body))])
        self.path = "/v1/chat/completions"
        self.body = body
        self.shared: dict[str, Any] = {}
        self.consumer: dict[str, str] | None = None
        self.route: dict[str, str] | None = {"id": "0b5e0a4e", "name": "openai-chat-completions"}
        self.address = "192.0.2.1"
        self.authenticated: list[Any] = []
        self.calls: list[str] = []
        self.logged: list[str] = []
        self.exit: tuple[int, dict[str, Any], dict[str, str]] | None = None

    def run(self, plugin: Any, phase: str) -> None:
        """Let one plugin's handler run, unless the request has already ended."""
        if phase == "access" and self.exit is not None:
            return
        self.phase = phase
        getattr(plugin, phase)(FakeClasses("kong", self._call))

    def _call(self, method: str, *arguments: Any) -> Any:
        assert self.exit is None or self.phase == "log", f"{method} after the exit would wait for ever"
        assert method in _PHASES[self.phase], f"{method} does not answer in {self.phase}"
        assert None not in arguments[:-1], f"{method}: what follows a None is lost"
        self.calls.append(method)
        return _through_the_socket(self._answer(method, *_through_the_socket(list(arguments))))

    def _answer(self, method: str, *arguments: Any) -> Any:
        match method, arguments:
            case "kong.request.get_headers", [most]:
                return dict(list(self.headers.items())[:most])
            case "kong.request.get_path", []:
                return self.path
            case "kong.request.get_path_with_query", []:
                return self.path
            case "kong.request.get_raw_query", []:
                return self.path.partition("?")[2]
            case "kong.request.get_raw_body", [0]:
                return self.body
            case "kong.client.get_forwarded_ip", []:
                return self.address
            case "kong.router.get_route", []:
                return self.route
            case "kong.ctx.shared.get", [name]:
                return self.shared.get(name)
            case "kong.ctx.shared.set", [name, value]:
                self.shared[name] = value
            case "kong.client.get_consumer", []:
                return self.consumer
            case "kong.client.authenticate", entities:
                self.authenticated = list(entities)
            case "kong.log.err", [message]:
                self.logged.append(message)
            case "kong.response.exit", [status, body, headers]:
                self.exit = (status, json.loads(body), headers)
            case _:
                raise AssertionError(f"Kong would raise: {method}{arguments}")
        return None


def plugin(name: str, **config: Any) -> Any:
    """An instance of a plugin, loaded from its entry file as kong-pdk loads it, with Kong's defaults."""
    module = Module(name, path=str(PLUGINS / f"{name}.py"))
    fields = {name: field for entry in module.mod.Schema for name, field in entry.items()}
    defaults = {name: field["default"] for name, field in fields.items() if "default" in field}
    return module.new(_config(defaults | config)).cls


def _config(config: Mapping[str, Any]) -> dict[str, Any]:
    return {"__plugin_id": "0b5e0a4e", "__seq__": 1, "__key__": "plugins:x", **config}


def _through_the_socket(value: Any) -> Any:
    packed = msgpack.packb(value, unicode_errors="surrogateescape")
    return msgpack.unpackb(packed, strict_map_key=False, unicode_errors="surrogateescape")
