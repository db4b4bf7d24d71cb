"""What is decided of a system before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from stack.errors import GatewayError
from stack.layout import services
from stack.plan import make_plan
from stack.ports import free_ports


def test_each_gateway_has_settings_a_journal_and_sockets_of_its_own(short_folder: Path) -> None:
    plan = make_plan(short_folder, free_ports(), {}, gateways=2)

    first, second = plan.nodes
    assert (first.name, second.name) == ("gateway", "gateway-2")
    assert first.gateway.proxy_url != second.gateway.proxy_url
    journals = {plan.edge_environment(node)["BURSAR_JOURNAL_DIR"] for node in plan.nodes}
    assert journals == {str(short_folder / name / "journal") for name in ("gateway", "gateway-2")}
    programs = {program.name: program for program in services(plan)}
    for node in plan.nodes:
        environment = programs[node.name].environment
        assert environment["KONG_PREFIX"] == str(node.prefix)
        assert str(node.edge_settings) in environment["KONG_PLUGINSERVER_LLM_RATE_LIMIT_START_CMD"]
    assert first.prefix != second.prefix


def test_gateways_of_one_system_share_its_redis_and_its_secrets(short_folder: Path) -> None:
    plan = make_plan(short_folder, free_ports(), {}, gateways=2)

    first, second = (plan.edge_environment(node) for node in plan.nodes)
    assert {name for name in first if first[name] != second[name]} == {"BURSAR_JOURNAL_DIR"}


def test_a_kong_that_runs_already_is_one_gateway(short_folder: Path) -> None:
    running = {"BURSAR_GATEWAY": "kong", "KONG_PROXY_URL": "http://kong:8000", "KONG_ADMIN_URL": "http://kong:8001"}

    with pytest.raises(GatewayError, match="KONG_PROXY_URL"):
        make_plan(short_folder, free_ports(), running, gateways=2)
