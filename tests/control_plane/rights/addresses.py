"""Every address that there is, from the URL resolver: a new one is walked by itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from django.apps import apps
from django.contrib.admindocs.views import simplify_regex
from django.db.models import Model
from django.urls import URLPattern, URLResolver, get_resolver

from control_plane.budgets.models import Budget
from control_plane.catalog.models import Deployment
from tests.control_plane.rights.world import World

_PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")
# What is no page and no address of ours.
_IGNORED = ("/static/", "/admin/r/", "/admin/jsi18n/", "/admin/logout/", "/admin/<url>", "/api/v1/.*")

# Parameters that name no row, and what is asked for.
_CHOSEN: Final = {
    "app_label": "teams",
    "form": "csv",
    "page": "team",
    "table": "keys",
    "organization_slug": "no-provider",
    "provider_id": "no-provider",
    "user_id": 0,
    "token": "no-token",
    "resource": "User",
}


@dataclass(frozen=True)
class Address:
    """`path` has `<name>` for each of its parameters; `kind` is what it is about."""

    path: str
    kind: type[Model] | None
    methods: frozenset[str]

    @property
    def parameters(self) -> list[str]:
        return _PARAMETER.findall(self.path)

    @property
    def names_a_row(self) -> bool:
        return bool(set(self.parameters) - _CHOSEN.keys())

    def of(self, world: World, colour: str) -> str | None:
        """The address of a row of a colour; None where there is no such row."""
        if self.parameters and self.kind is not None and colour not in world.rows.get(self.kind, {}):
            return None
        return _PARAMETER.sub(lambda found: str(self._value(found[1], world, colour)), self.path)

    def _value(self, name: str, world: World, colour: str) -> Any:
        parents = {"budget_id": Budget, "deployment_id": Deployment}
        if name in parents:
            return world.of(parents[name], colour).pk
        if name in _CHOSEN:
            return _CHOSEN[name]
        assert self.kind is not None, f"the walk does not know what <{name}> of {self.path} is"
        row = world.of(self.kind, colour)
        return getattr(row, "pk" if name in ("object_id", "pk", "id") else name)


def addresses() -> list[Address]:
    return [found for found in _walk(get_resolver().url_patterns, "/") if not found.path.startswith(_IGNORED)]


def _walk(patterns: list[Any], prefix: str) -> Iterator[Address]:
    for entry in patterns:
        path = prefix + _text(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from _walk(entry.url_patterns, path)
        elif isinstance(entry, URLPattern):
            yield Address(path=path, kind=_kind(path, entry.callback), methods=_methods(entry.callback))


def _text(pattern: Any) -> str:
    text = str(pattern)
    return simplify_regex(text).lstrip("/") if (hasattr(pattern, "_regex") and "(?P<" in text) or "^" in text else text


def _kind(path: str, view: Any) -> type[Model] | None:
    if found := re.match(r"/admin/(\w+)/(\w+)/", path):
        try:
            return apps.get_model(found[1], found[2])
        except LookupError:
            return None
    queryset = getattr(getattr(view, "cls", None), "queryset", None)
    return None if queryset is None else queryset.model


def _methods(view: Any) -> frozenset[str]:
    if actions := getattr(view, "actions", None):
        return frozenset(method.upper() for method in actions)
    if cls := getattr(view, "cls", None):
        return frozenset(name.upper() for name in ("get", "post", "patch", "put", "delete") if hasattr(cls, name))
    return frozenset({"GET", "POST"})
