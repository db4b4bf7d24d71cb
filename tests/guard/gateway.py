"""One request's way through the real llm-guard Lua, on a stand-in for the parts of Kong that it uses.

Bytes are Latin-1 text on the Lua side, one character a byte.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from lupa.luajit21 import LuaRuntime, lua_type

LUA_DIRECTORY = Path(__file__).parents[2] / "kong_plugins" / "lua"
_SUBSET = Path(__file__).with_name("kong_subset.lua")


def runtime() -> LuaRuntime:
    """A LuaJIT that finds the guard's modules and has the globals `kong` and `ngx`."""
    lua = LuaRuntime(encoding="latin-1")
    lua.globals().crc32_long = lambda text: zlib.crc32(text.encode("latin-1"))
    lua.execute(f"package.path = '{LUA_DIRECTORY}/?.lua'")
    lua.globals().driver = lua.execute(_SUBSET.read_text())
    return lua


class Kong:
    """A worker that has loaded llm-guard once."""

    def __init__(self, protocol: str = "openai_chat", mode: str = "enforce") -> None:
        self.lua = runtime()
        self.driver = self.lua.globals().driver
        self.guard = self.lua.eval("require('kong.plugins.llm-guard.handler')")
        self.conf = self.lua.table(protocol=protocol, mode=mode)


class Exchange:
    """One request and its answer, phase by phase."""

    def __init__(
        self,
        kong: Kong,
        *,
        body: bytes = b"{}",
        headers: Mapping[str, str | list[str]] | None = None,
        query: Mapping[str, str] | None = None,
        grant: Mapping[str, Any] | None = None,
        observation: Mapping[str, Any] | None = None,
        started_at_s: float = 1000.0,
    ) -> None:
        self._kong = kong
        decided = {"llm_grant": grant, "llm_observation": observation}
        self._state = to_lua(
            kong.lua,
            {
                "request_body": body,
                "request_headers": headers or {},
                "request_query": query or {},
                "response_headers": {},
                "shared": {name: value for name, value in decided.items() if value is not None},
                "request_raw_query": urlencode(query or {}),
                "upstream": {},
                "logs": [],
                "serialize_values": [],
                "source": "service",
                "status": 200,
                "tries": 0,
                "started_at_s": started_at_s,
                "now_s": started_at_s,
                "phase": "init",
            },
        )
        self.sent: list[bytes] = []
        self.assigned: list[bool] = []
        self.failure: str | None = None

    def __getitem__(self, name: str) -> Any:
        return to_python(self._state[name])

    def __setitem__(self, name: str, value: Any) -> None:
        self._state[name] = to_lua(self._kong.lua, value)

    @property
    def shared(self) -> Any:
        return to_python(self._state["shared"])

    def access(self) -> None:
        self._begin()
        self._kong.driver.access(self._kong.guard, self._kong.conf)

    def head(
        self,
        headers: Mapping[str, str | list[str]],
        *,
        status: int = 200,
        source: str = "service",
        upstream_bytes_sent: str | None = "512",
    ) -> None:
        """The answer's head, as the provider or Kong itself sent it."""
        self._begin()
        self["status"], self["source"] = status, source
        self["upstream_bytes_sent"] = upstream_bytes_sent
        self["response_headers"] = headers
        self._kong.driver.header_filter(self._kong.guard, self._kong.conf)

    def chunk(self, data: bytes, *, complete: bool = False) -> bytes:
        """One call of the body filter; returns and keeps what went to the client."""
        self._begin()
        result, assigned, self.failure = self._kong.driver.body_filter(
            self._kong.guard, self._kong.conf, data.decode("latin-1"), complete
        )
        self.assigned.append(assigned)
        self.sent.append(result.encode("latin-1"))
        return self.sent[-1]

    def body(self, chunks: Iterable[bytes]) -> bytes:
        """All chunks and the end; returns what the client has of it."""
        for data in chunks:
            self.chunk(data)
        self.chunk(b"", complete=True)
        return b"".join(self.sent)

    def log(self, *, upstream_bytes_sent: str | None = "512") -> Any:
        """The log phase; returns `llm_call`, its texts as bytes, or None."""
        self._begin()
        self["upstream_bytes_sent"] = upstream_bytes_sent
        self._kong.driver.log(self._kong.guard, self._kong.conf)
        return self.shared.get("llm_call")

    def pass_time(self, seconds: float) -> None:
        self["now_s"] = self["now_s"] + seconds

    def _begin(self) -> None:
        self._kong.driver.begin(self._state)


def grant_for(body: bytes = b"{}", **changes: Any) -> dict[str, Any]:
    """A grant as the rate-limit plugin writes it, for this body."""
    return {
        "id": "req_1",
        "scheme": "https",
        "host": "api.openai.example",
        "port": 443,
        "path": "/v1/chat/completions",
        "query": "",
        "set_headers": {"authorization": "Bearer sk-provider", "accept-encoding": "identity"},
        "body_length": len(body),
        "body_crc32": zlib.crc32(body),
        "splices": [],
        "strip_usage_chunk": False,
        "deadline_ms": 600_000,
        "response_headers": {"x-bursar-request-id": "req_1"},
        "meter": '{"opaque":true}',
        **changes,
    }


def to_lua(lua: LuaRuntime, value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, Mapping):
        return lua.table_from({key: to_lua(lua, item) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return lua.table_from([to_lua(lua, item) for item in value])
    return value


def to_python(value: Any) -> Any:
    """Lua tables as lists or dicts, an empty one as a dict; everything else as it is."""
    if lua_type(value) != "table":
        return value
    entries = {key: to_python(item) for key, item in value.items()}
    if entries and list(entries) == list(range(1, len(entries) + 1)):
        return list(entries.values())
    return entries
