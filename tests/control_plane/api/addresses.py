"""All addresses of the REST API, as Django's own routing knows them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.urls import URLPattern, get_resolver

PREFIX = "api/v1/"
# What anybody may read.
OPEN = {"health", "health/live", "schema", "docs", ""}


def views() -> Iterator[tuple[str, Any]]:
    """The pattern of each address under /api/v1/, and the class of its view."""
    for pattern, address in _patterns(get_resolver(), ""):
        view = getattr(pattern.callback, "cls", None) or getattr(pattern.callback, "view_class", None)
        yield address, view


def _patterns(resolver: Any, before: str) -> Iterator[tuple[URLPattern, str]]:
    for entry in resolver.url_patterns:
        address = before + str(entry.pattern).lstrip("^")
        if isinstance(entry, URLPattern):
            if address.startswith(PREFIX):
                yield entry, address.removeprefix(PREFIX).rstrip("$\\Z")
        elif PREFIX.startswith(address) or address.startswith(PREFIX):
            yield from _patterns(entry, address)
