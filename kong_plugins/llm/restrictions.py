"""Where a key may be used: on which of Kong's routes, and from which networks.

Whoever is refused has shown a good secret, and is told which rule refused; not what it allows, nor what was seen.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, Protocol

from kong_plugins.llm.errors import NetworkNotAllowed, RouteNotAllowed
from kong_plugins.llm.keys import KeyRecord

Network = IPv4Network | IPv6Network


class Origin(Protocol):
    """Where a request comes in. Each answer may be dear, so it is asked for only where a key has such a rule."""

    def route_names(self) -> tuple[str, ...]: ...

    def address(self) -> str: ...


class _Nowhere:
    """Of which nothing is known, so that a key with such a rule may not be used there."""

    def route_names(self) -> tuple[str, ...]:
        return ()

    def address(self) -> str:
        return ""


NOWHERE: Final[Origin] = _Nowhere()


def check_origin(record: KeyRecord, origin: Origin) -> None:
    """See that a key may be used where the request comes in.

    Raises:
        NetworkNotAllowed: not from its network.
        RouteNotAllowed: not on its route.
    """
    if record.networks is not None and not _is_within(origin.address(), record.networks):
        raise NetworkNotAllowed("This API key may not be used from your network. Ask the owner of your team.")
    if record.routes is not None and not set(record.routes).intersection(origin.route_names()):
        raise RouteNotAllowed("This API key may not be used on this route. Ask the owner of your team.")


def network_of(text: str) -> Network:
    """A block of addresses in CIDR notation, or one address.

    Raises:
        ValueError: it is none, or has bits beyond its prefix, or is a block of IPv4 addresses written as IPv6.
    """
    network = ip_network(text)
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped is not None:
        raise ValueError("IPv4 addresses are to be written as such")
    return network


def _is_within(text: str, networks: tuple[str, ...]) -> bool:
    """Whether an address is in one of the networks; what is none, such as that of a Unix socket, is in no network."""
    address = _address_of(text)
    return address is not None and any(address in network for network in _parsed(networks))


def _address_of(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # A socket that takes both kinds shows IPv4 clients so (RFC 4291, section 2.5.5.2).
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


@lru_cache(maxsize=1024)
def _parsed(networks: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(network_of(text) for text in networks)
