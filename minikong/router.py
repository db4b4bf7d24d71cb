"""Which route a request takes: Kong's default router, "traditional_compatible".

The order of routes is kong/router/transform.lua's `get_priority`, the match is kong/router/atc.lua's, the upstream
path is kong/router/utils.lua's `get_upstream_uri_v0`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from minikong.declarative import Route, Service, label
from minikong.errors import ConfigurationError
from minikong.headers import Headers
from minikong.uri import normalize

_MOST_HEADERS: Final = 255


@dataclass(frozen=True, slots=True)
class Match:
    """A route that a request takes, and what its path has become."""

    route: Route
    service: Service | None
    upstream_path: str
    prefix: str | None
    captures: Mapping[str | int, str]


@dataclass(frozen=True, slots=True)
class _Path:
    prefix: str
    pattern: re.Pattern[str] | None

    def match(self, path: str) -> tuple[str, Mapping[str | int, str]] | None:
        if self.pattern is None:
            return (self.prefix, {}) if path.startswith(self.prefix) else None
        found = self.pattern.match(path)
        if not found:
            return None
        captures: dict[str | int, str] = {name: value for name, value in found.groupdict().items() if value is not None}
        captures |= {number: value for number, value in enumerate(found.groups(), 1) if value is not None}
        return found.group(), captures


@dataclass(frozen=True, slots=True)
class _Host:
    name: str
    port: int | None

    def match(self, host: str, port: int) -> bool:
        if self.port is not None and self.port != port:
            return False
        if self.name.startswith("*"):
            return host.endswith(self.name[1:])
        if self.name.endswith("*"):
            return host.startswith(self.name[:-1])
        return host == self.name


@dataclass(frozen=True, slots=True)
class _Candidate:
    route: Route
    service: Service | None
    methods: frozenset[str]
    hosts: tuple[_Host, ...]
    paths: tuple[_Path, ...]
    headers: tuple[tuple[bytes, tuple[re.Pattern[str], ...]], ...]

    def priority(self) -> tuple[int, bool, bool, int, int, int, str]:
        """Higher is tried first; the id settles what is left, so that the order never depends on the document's."""
        matched = sum(map(bool, (self.methods, self.hosts, self.headers, self.paths)))
        plain_hosts = bool(self.hosts) and not any("*" in host.name for host in self.hosts)
        is_pattern = any(path.pattern for path in self.paths)
        length = max((len(path.prefix) for path in self.paths), default=0)
        headers = min(len(self.headers), _MOST_HEADERS)
        rank = self.route.regex_priority if is_pattern else 0
        return matched, plain_hosts, is_pattern, headers, rank, length, self.route.id

    def path_match(self, path: str) -> tuple[str, Mapping[str | int, str]] | None:
        if not self.paths:
            return "", {}
        return next((found for found in (known.match(path) for known in self.paths) if found), None)

    def takes(self, method: str, host: str, port: int, headers: Headers) -> bool:
        if self.methods and method not in self.methods:
            return False
        if self.hosts and not any(known.match(host, port) for known in self.hosts):
            return False
        return all(
            any(
                pattern.search(value.decode("latin-1").lower()) for value in headers.every(name) for pattern in patterns
            )
            for name, patterns in self.headers
        )


class Router:
    """All routes of one configuration."""

    def __init__(self, routes: Iterable[Route], services: Mapping[str, Service]) -> None:
        """Raises ConfigurationError where a path is no regular expression."""
        candidates = [
            candidate
            for route in routes
            for candidate in _candidates(route, services.get(str(route.service)))
            if candidate.service is None or candidate.service.enabled
        ]
        self._candidates = sorted(candidates, key=_Candidate.priority, reverse=True)

    def match(self, method: str, raw_path: str, port: int, headers: Headers) -> Match | None:
        """The route for a request that came in on `port`, or None."""
        path = normalize(raw_path)
        host = (headers.first(b"host") or b"").decode("latin-1").lower().partition(":")[0]
        for candidate in self._candidates:
            found = candidate.path_match(path)
            if found is not None and candidate.takes(method, host, port, headers):
                return _matched(candidate, path, *found)
        return None


def _candidates(route: Route, service: Service | None) -> list[_Candidate]:
    """One candidate for each length of prefix and one for all patterns, since these have priorities of their own."""
    whole = _Candidate(
        route=route,
        service=service,
        methods=frozenset(route.methods or ()),
        hosts=tuple(_host(text) for text in route.hosts or ()),
        paths=tuple(_path(text, route) for text in route.paths or ()),
        headers=tuple(
            (name.lower().encode(), tuple(map(_value_pattern, values)))
            for name, values in (route.headers or {}).items()
        ),
    )
    groups: dict[int, list[_Path]] = {}
    for path in whole.paths:
        groups.setdefault(-1 if path.pattern else len(path.prefix), []).append(path)
    return [replace(whole, paths=tuple(group)) for group in groups.values()] or [whole]


def _host(text: str) -> _Host:
    name, _, port = text.lower().partition(":")
    return _Host(name, int(port) if port.isdecimal() else None)


def _path(text: str, route: Route) -> _Path:
    if not text.startswith("~"):
        return _Path(text, None)
    try:
        return _Path("", re.compile(re.sub(r"\(\?<(?![=!])", "(?P<", text[1:])))
    except re.error as error:
        raise ConfigurationError(f"route {label(route)}: path {text}: {error}") from error


def _value_pattern(value: str) -> re.Pattern[str]:
    text = value.lower()
    return re.compile(text[2:]) if text.startswith("~*") else re.compile(rf"\A{re.escape(text)}\Z")


def _matched(candidate: _Candidate, path: str, matched_path: str, captures: Mapping[str | int, str]) -> Match:
    route, service = candidate.route, candidate.service
    prefix = matched_path if route.strip_path and candidate.paths else None
    base = (service.path if service else None) or "/"
    return Match(route, service, _upstream_path(route, path, prefix or "/", base), prefix, captures)


def _upstream_path(route: Route, path: str, prefix: str, base: str) -> str:
    if not route.strip_path:
        if base.endswith("/"):
            return base + path[1:]
        return base if path == "/" else base + path
    rest = _without_leading_dots(path[len(prefix) :])
    if not rest:
        if base == "/" or path.endswith("/") == base.endswith("/"):
            return base
        return base[:-1] if base.endswith("/") else base + ("/" if len(path) > 1 else "")
    return base.removesuffix("/") + "/" + rest.removeprefix("/")


def _without_leading_dots(rest: str) -> str:
    if rest in (".", ".."):
        return ""
    return rest[2:] if rest.startswith("./") else rest.removeprefix("../")
