"""The environment: Kong's names and forms, and a complaint about everything else."""

from __future__ import annotations

from pathlib import Path

import pytest

from minikong.errors import SettingsError
from minikong.settings import Address, PluginServerSettings, read_settings

_LEAST = {"KONG_PREFIX": "/run/kong", "KONG_DATABASE": "off"}


def test_what_is_not_said_has_kongs_default_and_stays_on_this_machine() -> None:
    settings = read_settings(_LEAST | {"HOME": "/root"})
    assert settings.proxy_listen == (Address("127.0.0.1", 8000),)
    assert settings.admin_listen == (Address("127.0.0.1", 8001),)
    assert settings.max_body_bytes == 0
    assert settings.body_buffer_bytes == 8192
    assert settings.read_timeout_ms == 60_000
    assert settings.plugin_servers == ()
    assert settings.plugin_server_environment == {}


def test_sizes_times_and_listeners_are_read_as_nginx_reads_them() -> None:
    settings = read_settings(
        _LEAST
        | {
            "KONG_PROXY_LISTEN": "0.0.0.0:8000 reuseport backlog=16384, [::1]:0",
            "KONG_ADMIN_LISTEN": "off",
            "KONG_NGINX_HTTP_CLIENT_MAX_BODY_SIZE": "12m",
            "KONG_NGINX_HTTP_CLIENT_BODY_BUFFER_SIZE": "1M",
            "KONG_NGINX_HTTP_LUA_SOCKET_READ_TIMEOUT": "500ms",
        }
    )
    assert settings.proxy_listen == (Address("0.0.0.0", 8000), Address("::1", 0))
    assert settings.admin_listen == ()
    assert (settings.max_body_bytes, settings.body_buffer_bytes) == (12 * 1024**2, 1024**2)
    assert settings.read_timeout_ms == 500


def test_a_plugin_server_has_three_variables_of_which_only_the_query_is_needed() -> None:
    settings = read_settings(
        _LEAST | {"KONG_PLUGINSERVER_NAMES": "LLM-Edge", "KONG_PLUGINSERVER_LLM_EDGE_QUERY_CMD": "edge --dump"}
    )
    assert settings.plugin_servers == (
        PluginServerSettings("llm-edge", Path("/run/kong/llm-edge.socket"), "edge --dump", None),
    )


def test_only_what_nginx_is_told_to_keep_reaches_a_plugin_server() -> None:
    settings = read_settings(
        _LEAST | {"KONG_NGINX_MAIN_ENV": "KEPT; env SET=1; ABSENT", "KEPT": "k", "LOST": "l", "TZ": "UTC"}
    )
    assert settings.plugin_server_environment == {"KEPT": "k", "SET": "1", "TZ": "UTC"}


def test_what_has_no_effect_is_told() -> None:
    settings = read_settings(_LEAST | {"KONG_NGINX_DAEMON": "off", "KONG_STATUS_LISTEN": "off"})
    assert settings.without_effect == ("KONG_NGINX_DAEMON", "KONG_STATUS_LISTEN")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"KONG_PREFIX": None}, "KONG_PREFIX is missing"),
        ({"KONG_DATABASE": None}, "KONG_DATABASE must be off"),
        ({"KONG_TRUSTED_IPS": "::/0", "KONG_PG_HOST": "db"}, "does not know KONG_PG_HOST, KONG_TRUSTED_IPS"),
        ({"KONG_PLUGINSERVER_NAMES": "edge"}, "KONG_PLUGINSERVER_EDGE_QUERY_CMD is missing"),
        ({"KONG_PLUGINSERVER_EDGE_QUERY_CMD": "edge"}, "does not know KONG_PLUGINSERVER_EDGE_QUERY_CMD"),
        ({"KONG_PROXY_LISTEN": "0.0.0.0:8443 ssl http2"}, "does not do ssl, http2"),
        ({"KONG_PROXY_LISTEN": "8000"}, "'8000' is not host:port"),
        ({"KONG_PROXY_LISTEN": "localhost:70000"}, "'localhost:70000' is not host:port"),
        ({"KONG_NGINX_HTTP_CLIENT_MAX_BODY_SIZE": "ten"}, "'ten' is not a size"),
        ({"KONG_NGINX_HTTP_LUA_SOCKET_READ_TIMEOUT": "5 s"}, "'5 s' is not a time"),
        ({"KONG_NGINX_PROXY_LUA_CHECK_CLIENT_ABORT": "yes"}, "neither on nor off"),
        ({"KONG_LOG_LEVEL": "loud"}, "'loud' is not one of debug"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, str | None], complaint: str) -> None:
    environment = {name: value for name, value in (_LEAST | changes).items() if value is not None}
    with pytest.raises(SettingsError, match=complaint):
        read_settings(environment)
