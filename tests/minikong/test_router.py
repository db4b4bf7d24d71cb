"""Which route a request takes, and what its path becomes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikong.declarative import check_declaration
from minikong.errors import ConfigurationError
from minikong.headers import Headers
from minikong.router import Match, Router
from minikong.uri import escape, normalize


def router(*routes: dict[str, Any], service_path: str | None = None) -> Router:
    service = {"name": "s", "host": "h", "path": service_path}
    document = {
        "_format_version": "3.0",
        "services": [{name: value for name, value in service.items() if value}],
        "routes": [{"service": "s", **route} for route in routes],
    }
    declaration = check_declaration(document)
    return Router(declaration.routes, {service.id: service for service in declaration.services})


def match(router: Router, path: str = "/", *, method: str = "GET", host: str = "h", **headers: str) -> Match | None:
    lines = [(b"host", host.encode())] + [(name.encode(), value.encode()) for name, value in headers.items()]
    return router.match(method, path, 8000, Headers(lines))


def name_of(found: Match | None) -> str | None:
    return found.route.name if found else None


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", None),
        ("/a", "short"),
        ("/ab/c", "long"),
        ("/a/b/1", "pattern"),
        ("//a", "short"),
        ("/x/../a", "short"),
        ("/%61", "short"),
    ],
)
def test_patterns_come_before_prefixes_and_longer_ones_before_shorter(path: str, expected: str | None) -> None:
    routes = router(
        {"name": "short", "paths": ["/a"]},
        {"name": "long", "paths": ["/ab"]},
        {"name": "pattern", "paths": [r"~/a/b/\d+$"]},
    )
    assert name_of(match(routes, path)) == expected


def test_a_route_with_more_conditions_comes_first() -> None:
    routes = router(
        {"name": "path", "paths": ["/deep/path"]},
        {"name": "method", "paths": ["/deep"], "methods": ["POST"]},
        {"name": "host", "paths": ["/"], "methods": ["POST"], "hosts": ["h"]},
    )
    assert name_of(match(routes, "/deep/path", method="POST")) == "host"
    assert name_of(match(routes, "/deep/path", method="POST", host="i")) == "method"
    assert name_of(match(routes, "/deep/path")) == "path"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("api.example.com", "plain"),
        ("API.example.com:8000", "plain"),
        ("x.example.com", "left"),
        ("api.example.org", "right"),
        ("example.net", "with port"),
        ("example.io", None),
    ],
)
def test_hosts_may_have_a_wildcard_or_a_port(host: str, expected: str | None) -> None:
    routes = router(
        {"name": "plain", "hosts": ["api.example.com"]},
        {"name": "left", "hosts": ["*.example.com"]},
        {"name": "right", "hosts": ["api.example.*"]},
        {"name": "with port", "hosts": ["example.net:8000"]},
        {"name": "other port", "hosts": ["example.io:9000"]},
    )
    assert name_of(match(routes, host=host)) == expected


def test_headers_are_compared_without_case_or_by_a_pattern() -> None:
    routes = router(
        {"name": "value", "headers": {"X-Tier": ["Gold"]}},
        {"name": "pattern", "headers": {"X-Tier": ["~*^silver"]}},
    )
    assert name_of(match(routes, **{"x-tier": "gold"})) == "value"
    assert name_of(match(routes, **{"x-tier": "Silver-2"})) == "pattern"
    assert match(routes, **{"x-tier": "bronze"}) is None


@pytest.mark.parametrize(
    ("strip", "base", "route", "path", "expected"),
    [
        (True, None, "/r", "/r", "/"),
        (True, None, "/r", "/r/x", "/x"),
        (True, None, "/r", "/rx", "/x"),
        (True, "/base", "/r", "/r", "/base"),
        (True, "/base", "/r", "/r/", "/base/"),
        (True, "/base", "/r", "/rx", "/base/x"),
        (True, "/base/", "/r", "/r", "/base"),
        (True, "/base/", "/r", "/r/", "/base/"),
        (True, "/base/", "/r", "/r/x", "/base/x"),
        (True, "/base", r"~/r/\d+", "/r/12/x", "/base/x"),
        (False, None, "/r", "/r/x", "/r/x"),
        (False, "/base", "/", "/", "/base"),
        (False, "/base", "/r", "/r/x", "/base/r/x"),
        (False, "/base/", "/r", "/r/x", "/base/r/x"),
    ],
)
def test_the_upstream_path(strip: bool, base: str | None, route: str, path: str, expected: str) -> None:
    found = match(router({"paths": [route], "strip_path": strip}, service_path=base), path)
    assert found
    assert found.upstream_path == expected


def test_captures_are_kept_by_name_and_number() -> None:
    found = match(router({"paths": [r"~/users/(?<user>[^/]+)/(\d+)"]}), "/users/ann/7")
    assert found
    assert found.captures == {"user": "ann", 1: "ann", 2: "7"}


def test_a_pattern_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"route r: path ~/\(: "):
        router({"name": "r", "paths": ["~/("]})


def test_a_disabled_service_has_no_routes() -> None:
    declaration = check_declaration(
        {
            "_format_version": "3.0",
            "services": [{"name": "s", "host": "h", "enabled": False, "routes": [{"name": "r", "paths": ["/"]}]}],
        }
    )
    assert match(Router(declaration.routes, {service.id: service for service in declaration.services})) is None


_PATHS = st.text("/.ab%2fFé ", max_size=20).map("/".__add__)


@given(_PATHS)
def test_a_normalized_path_has_no_dots_and_stays_what_it_is(path: str) -> None:
    once = normalize(path)
    assert once.startswith("/")
    assert not {".", ".."} & set(once.split("/"))
    assert "//" not in once
    if "%" not in once:
        assert normalize(once) == once


@given(_PATHS)
def test_an_escaped_path_is_safe_and_escaping_it_again_changes_nothing(path: str) -> None:
    once = escape(path)
    assert once.isascii()
    assert " " not in once
    assert escape(once) == once
