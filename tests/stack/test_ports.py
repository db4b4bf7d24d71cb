"""Ports: defaults, variables, and an error that says what to do."""

from __future__ import annotations

import socket
from dataclasses import astuple, replace

import pytest

from stack.errors import PortError
from stack.ports import Ports, free_ports, ports_from, ports_of_gateways, require_free


def test_ports_have_defaults_and_a_variable_each() -> None:
    assert ports_from({}) == Ports()
    assert ports_from({"BURSAR_GATEWAY_PORT": "9000", "BURSAR_REDIS_PORT": ""}) == Ports(gateway=9000)


def test_zero_takes_any_free_port() -> None:
    ports = ports_from({"BURSAR_CONTROL_PLANE_PORT": "0"})
    assert ports.control_plane != 0
    assert replace(ports, control_plane=8080) == Ports()
    assert len(set(astuple(free_ports()))) == len(astuple(Ports()))


def test_each_further_gateway_has_two_ports_of_its_own_and_shares_the_rest() -> None:
    several = ports_of_gateways(Ports(), 3)
    assert several[0] == Ports()
    assert len({port for ports in several for port in (ports.gateway, ports.kong_admin)}) == 6
    assert all(replace(ports, gateway=8000, kong_admin=8001) == Ports() for ports in several)


@pytest.mark.parametrize("text", ["http", "-1", "70000", "80.5"])
def test_what_is_no_port_is_refused_by_name(text: str) -> None:
    with pytest.raises(PortError, match="BURSAR_GATEWAY_PORT"):
        ports_from({"BURSAR_GATEWAY_PORT": text})


def test_every_port_in_use_is_named_with_its_variable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        ports = replace(free_ports(), gateway=first.getsockname()[1], kong_admin=second.getsockname()[1])
        with pytest.raises(PortError) as refusal:
            require_free(ports, ["gateway", "kong_admin", "provider"])
    assert f"port {ports.gateway} is in use: set BURSAR_GATEWAY_PORT" in str(refusal.value)
    assert f"port {ports.kong_admin} is in use: set BURSAR_KONG_ADMIN_PORT" in str(refusal.value)
    assert "PROVIDER" not in str(refusal.value)
