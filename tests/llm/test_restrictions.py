"""Where a key may be used: by route and by network, asked of Kong only where a rule needs it."""

from __future__ import annotations

import pytest

from kong_plugins.llm.authentication import Authenticator
from kong_plugins.llm.errors import BursarError, NetworkNotAllowed, RouteNotAllowed
from kong_plugins.llm.restrictions import network_of
from tests.llm.gateway import Gateway


class From:
    """A request that comes in somewhere, with what was asked about that."""

    def __init__(self, address: str = "", *routes: str) -> None:
        self._address = address
        self._routes = routes
        self.asked: list[str] = []

    def route_names(self) -> tuple[str, ...]:
        self.asked.append("route")
        return self._routes

    def address(self) -> str:
        self.asked.append("address")
        return self._address


def refusal(authenticator: Authenticator, key: str, origin: From) -> BursarError | None:
    try:
        authenticator.authenticate({"x-api-key": [key]}, origin=origin)
    except BursarError as error:
        return error
    return None


@pytest.mark.parametrize(
    ("networks", "inside", "outside"),
    [
        (["10.1.0.0/16"], ["10.1.0.0", "10.1.255.255", "::ffff:10.1.2.3"], ["10.2.0.0", "10.0.255.255", "::1"]),
        (["10.1.2.3"], ["10.1.2.3"], ["10.1.2.4"]),
        (["2001:db8::/32"], ["2001:db8::1", "2001:db8:ffff::"], ["2001:db9::", "10.1.2.3", "::ffff:10.1.2.3"]),
        (["10.0.0.0/8", "2001:db8::7"], ["10.9.9.9", "2001:db8::7"], ["11.0.0.0", "2001:db8::8"]),
        (["0.0.0.0/0"], ["192.0.2.1"], ["2001:db8::1", "", "unix:", "10.1.2.3, 10.1.2.4", "localhost"]),
        ([], [], ["10.1.2.3", "::1"]),
    ],
)
def test_a_key_works_from_its_networks_only(
    gateway: Gateway, networks: list[str], inside: list[str], outside: list[str]
) -> None:
    _, key = gateway.new_key(networks=tuple(networks))

    for address in inside:
        assert refusal(gateway.authenticator, key, From(address)) is None, address
    for address in outside:
        assert isinstance(refusal(gateway.authenticator, key, From(address)), NetworkNotAllowed), address


def test_a_key_works_on_its_routes_only_by_name_or_by_id(gateway: Gateway) -> None:
    _, key = gateway.new_key(routes=("openai-embeddings", "0b5e0a4e"))

    for names in (["openai-embeddings", "77"], ["openai-chat-completions", "0b5e0a4e"], ["0b5e0a4e"]):
        assert refusal(gateway.authenticator, key, From("", *names)) is None, names
    for names in (["openai-chat-completions", "77"], ["openai"], []):
        assert isinstance(refusal(gateway.authenticator, key, From("", *names)), RouteNotAllowed), names


def test_a_refusal_says_which_rule_and_neither_what_it_allows_nor_what_was_seen(gateway: Gateway) -> None:
    _, key = gateway.new_key(networks=("10.1.0.0/16",), routes=("openai-embeddings",))

    for origin in (From("192.0.2.77", "openai-embeddings"), From("10.1.0.1", "chat")):
        error = refusal(gateway.authenticator, key, origin)
        assert error is not None
        assert (error.http_status, error.should_retry) == (403, False)
        for secret in ("10.1", "192.0", "embeddings", "chat", gateway.organization, "search"):
            assert secret not in error.message


def test_kong_is_asked_only_for_what_a_rule_of_the_key_is_about(gateway: Gateway) -> None:
    """Each question is a round trip, and a key that is not good costs none."""
    restricted, forged = gateway.new_key(networks=("10.0.0.0/8",))[1], gateway.new_key(digest="1" * 64)[1]
    for key, asked in (
        (gateway.key, []),
        (gateway.new_key(routes=("a",))[1], ["route"]),
        (restricted, ["address"]),
        (forged, []),
    ):
        origin = From("10.0.0.1", "a")
        refusal(gateway.authenticator, key, origin)
        assert origin.asked == asked


def test_where_nothing_is_known_of_the_origin_a_restricted_key_is_refused(gateway: Gateway) -> None:
    for rule in ({"networks": ("0.0.0.0/0", "::/0")}, {"routes": ("a",)}):
        _, key = gateway.new_key(**rule)
        with pytest.raises((NetworkNotAllowed, RouteNotAllowed)):
            gateway.authenticator.authenticate({"x-api-key": [key]})


@pytest.mark.parametrize(
    "text", ["10.1.2.3/16", "10.1.2", "::ffff:10.1.2.0/120", "", "all", "10.0.0.0/33", "fe80::1%1/64"]
)
def test_what_could_be_read_in_two_ways_is_no_network(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        network_of(text)
