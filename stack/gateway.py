"""The gateway: minikong, a real Kong that we start, or one that somebody else runs. All get the same settings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import join
from typing import Final, Literal

from stack.errors import GatewayError
from stack.ports import HOST, Ports
from stack.programs import REPOSITORY, Program, python, script

PLUGIN_SERVERS: Final = ("llm-key-auth", "llm-rate-limit", "llm-token-meter")
CONFIGURATION: Final = REPOSITORY / "kong.yml"


@dataclass(frozen=True, kw_only=True)
class Gateway:
    """Which gateway, and where it is: `binary` for a Kong that we start, urls for one that runs already."""

    kind: Literal["minikong", "kong", "running"]
    binary: str | None = None
    proxy_url: str
    admin_url: str


def gateway_from(environment: Mapping[str, str], ports: Ports) -> Gateway:
    """The gateway that `BURSAR_GATEWAY` names, minikong by default.

    Raises:
        GatewayError: a Kong is asked for, and nothing says where it is.
    """
    proxy_url, admin_url = f"http://{HOST}:{ports.gateway}", f"http://{HOST}:{ports.kong_admin}"
    kind = environment.get("BURSAR_GATEWAY") or "minikong"
    if kind == "minikong":
        return Gateway(kind="minikong", proxy_url=proxy_url, admin_url=admin_url)
    if kind != "kong":
        raise GatewayError(f"BURSAR_GATEWAY must be minikong or kong, not {kind!r}")
    if environment.get("KONG_ADMIN_URL") and environment.get("KONG_PROXY_URL"):
        return Gateway(
            kind="running",
            proxy_url=environment["KONG_PROXY_URL"].rstrip("/"),
            admin_url=environment["KONG_ADMIN_URL"].rstrip("/"),
        )
    binary = environment.get("KONG_BIN")
    if not binary or not os.access(binary, os.X_OK):
        raise GatewayError(
            "there is no Kong: set KONG_BIN to a kong executable, or KONG_ADMIN_URL and KONG_PROXY_URL to a running one"
        )
    return Gateway(kind="kong", binary=binary, proxy_url=proxy_url, admin_url=admin_url)


def gateway_program(
    gateway: Gateway, ports: Ports, *, name: str = "gateway", prefix: Path, edge_settings: Path
) -> Program:
    """The gateway as a program of ours; it starts its plugin servers itself.

    `prefix` must be short, since it holds Unix sockets. `edge_settings` is a file of NAME=value lines: nginx takes the
    environment away from what it starts.
    """
    environment = {
        "KONG_PREFIX": str(prefix),
        "KONG_DATABASE": "off",
        "KONG_DECLARATIVE_CONFIG": str(CONFIGURATION),
        "KONG_PROXY_LISTEN": f"{HOST}:{ports.gateway}",
        "KONG_ADMIN_LISTEN": f"{HOST}:{ports.kong_admin}",
        "KONG_LOG_LEVEL": "notice",
        "KONG_NGINX_HTTP_CLIENT_MAX_BODY_SIZE": "12m",
        "KONG_NGINX_HTTP_CLIENT_BODY_BUFFER_SIZE": "1m",
        "KONG_NGINX_HTTP_LUA_SOCKET_READ_TIMEOUT": "5s",
        "KONG_NGINX_PROXY_LUA_CHECK_CLIENT_ABORT": "on",
        "KONG_PLUGINS": "bundled,llm-key-auth,llm-rate-limit,llm-guard,llm-token-meter",
        "KONG_LUA_PACKAGE_PATH": f"{REPOSITORY}/kong_plugins/lua/?.lua;;",
        "KONG_PLUGINSERVER_NAMES": ",".join(PLUGIN_SERVERS),
    }
    for plugin in PLUGIN_SERVERS:
        environment |= _plugin_server(plugin, prefix, edge_settings)
    if gateway.binary is None:
        return Program(name=name, command=python("-m", "minikong"), environment=environment)
    command = [gateway.binary, "start"]
    return Program(name=name, command=command, environment=environment | _kong_alone(), stop_group=True)


def _kong_alone() -> dict[str, str]:
    """Settings of what minikong has not got: processes, log files, and listeners that nobody needs here."""
    settings = {
        "KONG_ADMIN_GUI_LISTEN": "off",
        "KONG_STATUS_LISTEN": "off",
        "KONG_ANONYMOUS_REPORTS": "off",
        "KONG_PROXY_ACCESS_LOG": "off",
        "KONG_ADMIN_ACCESS_LOG": "off",
        "KONG_PROXY_ERROR_LOG": "/dev/stderr",
        "KONG_ADMIN_ERROR_LOG": "/dev/stderr",
        "KONG_NGINX_DAEMON": "off",
        "KONG_NGINX_WORKER_PROCESSES": "1",
    }
    # Workers start the plugin servers, and those must be able to read the settings file.
    return settings | ({"KONG_NGINX_MAIN_USER": "root"} if os.geteuid() == 0 else {})


def _plugin_server(name: str, prefix: Path, edge_settings: Path) -> dict[str, str]:
    variable = f"KONG_PLUGINSERVER_{name.upper().replace('-', '_')}"
    serve = script("bursar-pluginserver", name, "-p", str(prefix), "--env-file", str(edge_settings))
    return {
        f"{variable}_SOCKET": str(prefix / f"{name}.socket"),
        f"{variable}_START_CMD": join(serve),
        f"{variable}_QUERY_CMD": join(script("bursar-pluginserver", name, "--dump")),
    }
