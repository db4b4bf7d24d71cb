"""Which gateway runs, and that each is told the same."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from minikong.settings import read_settings
from stack.errors import GatewayError
from stack.gateway import PLUGIN_SERVERS, gateway_from, gateway_program
from stack.ports import Ports


def test_minikong_is_the_gateway_unless_another_is_named() -> None:
    gateway = gateway_from({}, Ports())
    assert (gateway.kind, gateway.proxy_url, gateway.admin_url) == (
        "minikong",
        "http://127.0.0.1:8000",
        "http://127.0.0.1:8001",
    )


def test_a_kong_that_runs_already_is_taken_by_its_addresses() -> None:
    urls = {"KONG_PROXY_URL": "http://kong:8000/", "KONG_ADMIN_URL": "http://kong:8001"}
    gateway = gateway_from({"BURSAR_GATEWAY": "kong", **urls}, Ports())
    assert (gateway.kind, gateway.proxy_url, gateway.admin_url) == ("running", "http://kong:8000", "http://kong:8001")


@pytest.mark.parametrize(
    "environment",
    [
        {"BURSAR_GATEWAY": "kong"},
        {"BURSAR_GATEWAY": "kong", "KONG_BIN": "/no/such/kong"},
        {"BURSAR_GATEWAY": "kong", "KONG_PROXY_URL": "http://kong:8000"},
    ],
)
def test_a_kong_that_is_not_there_is_missed_clearly(environment: dict[str, str]) -> None:
    with pytest.raises(GatewayError, match="KONG_BIN"):
        gateway_from(environment, Ports())


def test_a_gateway_of_another_kind_is_refused() -> None:
    with pytest.raises(GatewayError, match="nginx"):
        gateway_from({"BURSAR_GATEWAY": "nginx"}, Ports())


def test_minikong_knows_every_setting_that_it_is_given(tmp_path: Path) -> None:
    program = gateway_program(
        gateway_from({}, Ports()), Ports(), prefix=tmp_path / "prefix", edge_settings=tmp_path / "edge.env"
    )
    settings = read_settings(program.environment)
    assert [server.name for server in settings.plugin_servers] == list(PLUGIN_SERVERS)
    assert settings.without_effect == ()


def test_a_real_kong_gets_all_that_minikong_gets(tmp_path: Path) -> None:
    ports, prefix, edge_settings = Ports(), tmp_path / "prefix", tmp_path / "edge.env"
    kong = gateway_from({"BURSAR_GATEWAY": "kong", "KONG_BIN": sys.executable}, ports)
    real = gateway_program(kong, ports, prefix=prefix, edge_settings=edge_settings)
    small = gateway_program(gateway_from({}, ports), ports, prefix=prefix, edge_settings=edge_settings)
    assert real.command == [sys.executable, "start"]
    assert small.environment.items() <= real.environment.items()
