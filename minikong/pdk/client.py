"""kong.client, kong.router, kong.plugin, kong.node, kong.ip: who is calling, and what Kong has made of it."""

from __future__ import annotations

import socket
from uuid import uuid4

import msgspec

from minikong import phase
from minikong.declarative import Route, Service
from minikong.errors import LuaFault
from minikong.exchange import Exchange
from minikong.lua_values import LuaValue, from_python
from minikong.pdk.registry import Result, pdk

NODE_ID = str(uuid4())

_AUTHENTICATED = phase.AUTHENTICATED | phase.TIMER
_ALWAYS = phase.REQUEST | phase.TIMER


@pdk("kong.client.get_ip", phase.REQUEST)
@pdk("kong.client.get_forwarded_ip", phase.REQUEST)
def get_ip(exchange: Exchange) -> Result:
    return exchange.incoming.client[0].encode()


@pdk("kong.client.get_port", phase.REQUEST)
@pdk("kong.client.get_forwarded_port", phase.REQUEST)
def get_port(exchange: Exchange) -> Result:
    return exchange.incoming.client[1]


@pdk("kong.client.get_protocol", phase.AUTHENTICATED)
def get_protocol(exchange: Exchange) -> Result:
    return exchange.incoming.scheme.encode() if exchange.route else (None, b"No active route found")


@pdk("kong.client.get_credential", _AUTHENTICATED)
def get_credential(exchange: Exchange) -> Result:
    return exchange.credential


@pdk("kong.client.get_consumer", _AUTHENTICATED)
def get_consumer(exchange: Exchange) -> Result:
    return exchange.consumer


@pdk("kong.client.authenticate", phase.ACCESS)
def authenticate(exchange: Exchange, consumer: LuaValue, credential: LuaValue) -> Result:
    for value, what in ((consumer, "consumer"), (credential, "credential")):
        if value is not None and not isinstance(value, list | dict):
            raise LuaFault(f"{what} must be a table or nil")
    if consumer is None and credential is None:
        raise LuaFault("either credential or consumer must be provided")
    exchange.consumer, exchange.credential = consumer, credential
    return None


@pdk("kong.router.get_route", _AUTHENTICATED)
def get_route(exchange: Exchange) -> Result:
    return entity_table(exchange.route)


@pdk("kong.router.get_service", _AUTHENTICATED)
def get_service(exchange: Exchange) -> Result:
    return entity_table(exchange.service)


@pdk("kong.plugin.get_id", _ALWAYS)
def get_id(exchange: Exchange) -> Result:
    return exchange.plugin.id.encode() if exchange.plugin else None


@pdk("kong.node.get_id", _ALWAYS)
def get_node_id(exchange: Exchange) -> Result:
    return NODE_ID.encode()


@pdk("kong.node.get_hostname", _ALWAYS)
def get_hostname(exchange: Exchange) -> Result:
    return socket.gethostname().encode()


@pdk("kong.ip.is_trusted", _ALWAYS)
def is_trusted(exchange: Exchange, address: LuaValue) -> Result:
    """minikong has no trusted_ips, so nobody is."""
    return False


def entity_table(entity: Route | Service | None) -> LuaValue:
    """A route or service as plugins see it: its fields, and a reference as a table with an id."""
    if entity is None:
        return None
    fields = {
        name: value for name, value in msgspec.to_builtins(entity).items() if value is not None and name != "plugins"
    }
    if isinstance(entity, Route) and entity.service:
        fields["service"] = {"id": entity.service}
    return from_python(fields)
