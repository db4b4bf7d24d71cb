"""What minikong takes from the environment: the names and forms are Kong's, and so are the defaults.

A KONG_ variable that minikong does not know is refused by name, so that no setting is ever silently without effect.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from minikong.errors import SettingsError
from minikong.log import LEVELS

_DEFAULTS: Final = {
    "KONG_PROXY_LISTEN": "127.0.0.1:8000",
    "KONG_ADMIN_LISTEN": "127.0.0.1:8001",
    "KONG_PLUGINS": "bundled",
    "KONG_PLUGINSERVER_NAMES": "",
    "KONG_LUA_PACKAGE_PATH": "./?.lua;./?/init.lua;",
    "KONG_NGINX_HTTP_CLIENT_MAX_BODY_SIZE": "0",
    "KONG_NGINX_HTTP_CLIENT_BODY_BUFFER_SIZE": "8k",
    "KONG_NGINX_HTTP_LUA_SOCKET_READ_TIMEOUT": "60s",
    "KONG_NGINX_PROXY_LUA_CHECK_CLIENT_ABORT": "off",
    "KONG_NGINX_MAIN_ENV": "",
    "KONG_LOG_LEVEL": "notice",
}
_OTHERS: Final = {"KONG_PREFIX", "KONG_DATABASE", "KONG_DECLARATIVE_CONFIG"}
# About processes, log files and listeners that minikong has not got, or read by the tests of a real Kong.
_WITHOUT_EFFECT: Final = {
    "KONG_NGINX_DAEMON",
    "KONG_NGINX_WORKER_PROCESSES",
    "KONG_PROXY_ACCESS_LOG",
    "KONG_PROXY_ERROR_LOG",
    "KONG_ADMIN_ACCESS_LOG",
    "KONG_ADMIN_ERROR_LOG",
    "KONG_ADMIN_GUI_LISTEN",
    "KONG_STATUS_LISTEN",
    "KONG_ANONYMOUS_REPORTS",
    "KONG_BIN",
    "KONG_ADMIN_URL",
    "KONG_PROXY_URL",
}
_LISTEN_OPTIONS: Final = re.compile(r"reuseport|deferred|bind|backlog=\d+|so_keepalive=\S+|ipv6only=\S+")
_SIZE_UNITS: Final = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
_TIME_UNITS_MS: Final = {"ms": 1, "": 1000, "s": 1000, "m": 60_000, "h": 3_600_000}


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen; port 0 takes any free port."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class PluginServerSettings:
    """One entry of KONG_PLUGINSERVER_NAMES; without a start command its process is somebody else's."""

    name: str
    socket: Path
    query_command: str
    start_command: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole environment of one minikong."""

    prefix: Path
    proxy_listen: tuple[Address, ...]
    admin_listen: tuple[Address, ...]
    declarative_config: Path | None
    plugins: tuple[str, ...]
    lua_package_path: str
    plugin_servers: tuple[PluginServerSettings, ...]
    plugin_server_environment: Mapping[str, str]
    max_body_bytes: int
    body_buffer_bytes: int
    read_timeout_ms: int
    checks_client_abort: bool
    log_level: str
    without_effect: tuple[str, ...]


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read every KONG_ variable; raises SettingsError that names what is missing, malformed or unsupported."""
    values = _DEFAULTS | {name: value for name, value in environment.items() if name.startswith("KONG_")}
    _refuse_unknown(values)
    if "KONG_PREFIX" not in values:
        raise SettingsError("KONG_PREFIX is missing: the directory for sockets")
    if values.get("KONG_DATABASE") != "off":
        raise SettingsError("KONG_DATABASE must be off: minikong has no database")
    if values["KONG_LOG_LEVEL"] not in LEVELS:
        raise SettingsError(f"KONG_LOG_LEVEL: {values['KONG_LOG_LEVEL']!r} is not one of {', '.join(LEVELS)}")
    prefix = Path(values["KONG_PREFIX"])
    declarative_config = values.get("KONG_DECLARATIVE_CONFIG")
    return Settings(
        prefix=prefix,
        proxy_listen=_addresses(values, "KONG_PROXY_LISTEN"),
        admin_listen=_addresses(values, "KONG_ADMIN_LISTEN"),
        declarative_config=Path(declarative_config) if declarative_config else None,
        plugins=_names(values["KONG_PLUGINS"]),
        lua_package_path=values["KONG_LUA_PACKAGE_PATH"],
        plugin_servers=tuple(_plugin_server(values, name, prefix) for name in _server_names(values)),
        plugin_server_environment=_passed_on(values["KONG_NGINX_MAIN_ENV"], environment),
        max_body_bytes=_bytes(values, "KONG_NGINX_HTTP_CLIENT_MAX_BODY_SIZE"),
        body_buffer_bytes=_bytes(values, "KONG_NGINX_HTTP_CLIENT_BODY_BUFFER_SIZE"),
        read_timeout_ms=_milliseconds(values, "KONG_NGINX_HTTP_LUA_SOCKET_READ_TIMEOUT"),
        checks_client_abort=_switch(values, "KONG_NGINX_PROXY_LUA_CHECK_CLIENT_ABORT"),
        log_level=values["KONG_LOG_LEVEL"],
        without_effect=tuple(sorted(_WITHOUT_EFFECT & values.keys())),
    )


def _refuse_unknown(values: Mapping[str, str]) -> None:
    known = {*_DEFAULTS, *_OTHERS, *_WITHOUT_EFFECT}
    for server in _server_names(values):
        known |= {f"{_variable_prefix(server)}_{part}" for part in ("SOCKET", "START_CMD", "QUERY_CMD")}
    unknown = sorted(values.keys() - known)
    if unknown:
        raise SettingsError(f"minikong does not know {', '.join(unknown)}")


def _server_names(values: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(name.lower() for name in _names(values["KONG_PLUGINSERVER_NAMES"]))


def _variable_prefix(server: str) -> str:
    return "KONG_PLUGINSERVER_" + server.upper().replace("-", "_")


def _plugin_server(values: Mapping[str, str], name: str, prefix: Path) -> PluginServerSettings:
    variable = _variable_prefix(name)
    query_command = values.get(f"{variable}_QUERY_CMD")
    if not query_command:
        raise SettingsError(f"{variable}_QUERY_CMD is missing: Kong asks the plugin for its schema with it")
    return PluginServerSettings(
        name=name,
        socket=Path(values.get(f"{variable}_SOCKET") or prefix / f"{name}.socket"),
        query_command=query_command,
        start_command=values.get(f"{variable}_START_CMD"),
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _addresses(values: Mapping[str, str], variable: str) -> tuple[Address, ...]:
    if values[variable].strip() == "off":
        return ()
    return tuple(_address(entry, variable) for entry in _names(values[variable]))


def _address(entry: str, variable: str) -> Address:
    place, *options = entry.split()
    unsupported = [option for option in options if not _LISTEN_OPTIONS.fullmatch(option)]
    if unsupported:
        raise SettingsError(f"{variable}: minikong does not do {', '.join(unsupported)}")
    host, colon, port = place.rpartition(":")
    if not (colon and host and port.isdecimal() and int(port) <= 65535):
        raise SettingsError(f"{variable}: {place!r} is not host:port")
    return Address(host.removeprefix("[").removesuffix("]"), int(port))


def _passed_on(directive: str, environment: Mapping[str, str]) -> dict[str, str]:
    """What nginx leaves a process that it starts: TZ, and what its `env` directives name or set."""
    passed = {"TZ": environment["TZ"]} if "TZ" in environment else {}
    for entry in directive.split(";"):
        name, equals, value = entry.strip().removeprefix("env ").strip().partition("=")
        if equals:
            passed[name] = value
        elif name in environment:
            passed[name] = environment[name]
    return passed


def _switch(values: Mapping[str, str], variable: str) -> bool:
    if values[variable] not in ("on", "off"):
        raise SettingsError(f"{variable}: {values[variable]!r} is neither on nor off")
    return values[variable] == "on"


def _bytes(values: Mapping[str, str], variable: str) -> int:
    match = re.fullmatch(r"(\d+)([kmg]?)", values[variable].lower())
    if not match:
        raise SettingsError(f"{variable}: {values[variable]!r} is not a size such as 8k or 10m")
    return int(match[1]) * _SIZE_UNITS[match[2]]


def _milliseconds(values: Mapping[str, str], variable: str) -> int:
    match = re.fullmatch(r"(\d+)(ms|s|m|h|)", values[variable])
    if not match:
        raise SettingsError(f"{variable}: {values[variable]!r} is not a time such as 5s or 500ms")
    return int(match[1]) * _TIME_UNITS_MS[match[2]]
