"""The declarative configuration: Kong's defaults, ids and references, and errors that name what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from minikong.declarative import Declaration, check_declaration, read_declaration
from minikong.errors import ConfigurationError


def declare(**parts: Any) -> Declaration:
    return check_declaration({"_format_version": "3.0", **parts})


def test_nested_entities_refer_to_where_they_stood() -> None:
    declaration = declare(
        services=[
            {
                "name": "s",
                "host": "h",
                "plugins": [{"name": "a"}],
                "routes": [{"name": "r", "paths": ["/"], "plugins": [{"name": "b"}]}],
            }
        ],
        plugins=[{"name": "c"}, {"name": "d", "route": "r", "service": {"name": "s"}}],
    )
    (service,), (route,) = declaration.services, declaration.routes
    assert route.service == service.id
    scopes = {plugin.name: (plugin.route, plugin.service) for plugin in declaration.plugins}
    assert scopes == {
        "a": (None, service.id),
        "b": (route.id, None),
        "c": (None, None),
        "d": (route.id, service.id),
    }


def test_defaults_are_kongs() -> None:
    declaration = declare(services=[{"name": "s", "host": "h", "routes": [{"paths": ["/"]}]}])
    (service,), (route,) = declaration.services, declaration.routes
    assert (service.protocol, service.port, service.path) == ("http", 80, None)
    assert (service.connect_timeout, service.read_timeout) == (60_000, 60_000)
    assert (route.strip_path, route.preserve_host, route.protocols) == (True, False, ["http", "https"])


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("http://example.com", ("http", "example.com", 80, None)),
        ("https://example.com/v1", ("https", "example.com", 443, "/v1")),
        ("http://[::1]:9000/", ("http", "::1", 9000, "/")),
    ],
)
def test_a_url_is_shorthand_for_its_parts(url: str, parts: tuple[Any, ...]) -> None:
    (service,) = declare(services=[{"name": "s", "url": url}]).services
    assert (service.protocol, service.host, service.port, service.path) == parts


def test_an_id_follows_from_the_name_as_in_kong() -> None:
    first, second = (declare(services=[{"name": "s", "host": host}]).services[0].id for host in ("a", "b"))
    assert first == second
    assert declare(services=[{"name": "t", "host": "a"}]).services[0].id != first
    assert declare(services=[{"name": "s", "id": "fixed", "host": "a"}]).services[0].id == "fixed"


def test_what_is_harmless_and_without_effect_is_told() -> None:
    declaration = declare(
        consumers=[{"username": "c"}],
        services=[{"name": "s", "host": "h", "tags": ["t"], "routes": [{"paths": ["/"], "request_buffering": False}]}],
    )
    notices = declaration.notices()
    assert "consumers are ignored" in notices
    assert "service s: one try only, not retries 5" in notices
    assert any("a request is always buffered" in notice for notice in notices)


def test_the_repositorys_own_configuration_is_read() -> None:
    declaration = read_declaration((Path(__file__).parents[2] / "kong.yml").read_text())
    assert {plugin.name for plugin in declaration.plugins} == {
        "llm-key-auth",
        "llm-rate-limit",
        "llm-guard",
        "llm-token-meter",
    }


@pytest.mark.parametrize(
    ("parts", "complaint"),
    [
        ({"_format_version": "2.1"}, r"_format_version"),
        ({"upstreams": []}, "unknown field `upstreams`"),
        ({"services": [{"name": "s"}]}, "service s: host is missing"),
        ({"services": [{"name": "s", "host": "h", "url": "http://h"}]}, "service s: both url and host"),
        ({"services": [{"name": "s", "url": "ftp://h"}]}, "service s: url ftp://h is neither"),
        ({"services": [{"name": "s", "host": "h", "protocol": "grpc"}]}, r"services\[0\]\.protocol"),
        ({"services": [{"name": "s", "host": "h", "path": "v1"}]}, r"services\[0\]\.path"),
        ({"services": [{"name": "s", "host": "h"}, {"name": "s", "host": "i"}]}, "services: s is declared twice"),
        ({"routes": [{"name": "r"}]}, "route r: must set one of methods, hosts, headers, paths"),
        ({"routes": [{"name": "r", "paths": ["no-slash"]}]}, r"routes\[0\]\.paths"),
        ({"routes": [{"name": "r", "paths": ["/"], "protocols": ["https"]}]}, "route r: minikong has no TLS"),
        ({"routes": [{"name": "r", "paths": ["/"], "path_handling": "v1"}]}, "path_handling"),
        ({"routes": [{"name": "r", "headers": {"Host": ["h"]}}]}, "route r: a host belongs in hosts"),
        ({"routes": [{"name": "r", "paths": ["/"], "service": "s"}]}, "route r refers to s, which is not declared"),
        ({"routes": [{"name": "r", "expression": "x"}]}, "unknown field `expression`"),
        ({"plugins": [{"name": "p", "consumer": "c"}]}, "unknown field `consumer`"),
        ({"plugins": [{"name": "p"}, {"name": "p"}]}, "plugin p is declared twice at one scope"),
        ({"plugins": [{"name": "p", "route": {"id": "x"}}]}, "plugin p refers to x"),
    ],
)
def test_what_is_wrong_is_named(parts: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        declare(**parts)
