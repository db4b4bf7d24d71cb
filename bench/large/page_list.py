"""Every page of the admin and every address that the REST API answers to GET, with addresses of real rows.

Nothing is listed here: pages come from the addresses that Django knows, and from what each list offers to be searched,
filtered and sorted by. So a new page is among them by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import combinations
from typing import Any, Final
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.admindocs.views import simplify_regex
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.test import RequestFactory
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from control_plane.ledger.spend import GROUPS
from control_plane.rights.person import person_of
from control_plane.rights.scope import visible

# What the parts of an address that name a row are called.
_ROW_PARTS: Final = ("object_id", "pk", "number", "budget_id")
# Addresses that end something, or that are no pages.
_LEFT_OUT: Final = ("admin/logout/", "admin/jsi18n/", "admin/autocomplete/", "admin/r/", "admin/toggle-sidebar/")
_SPAN_DAYS: Final = 30
_FAR_PAGE: Final = 40
_SEARCHED: Final = "0"


@dataclass(frozen=True)
class Page:
    """A page: `name` says which it is, whatever rows there are."""

    name: str
    path: str


def pages_for(user: Any) -> Iterator[Page]:
    """The pages of somebody, with rows that they see."""
    for pattern, route in _patterns(get_resolver(), ""):
        if not route.startswith(_LEFT_OUT):
            yield from _pages_of(pattern, route, user)
    for model_admin in admin.site._registry.values():
        yield from _list_pages(model_admin, user)
    yield from _home_pages()
    yield from _spend_pages()
    yield from _spend_queries()


def _patterns(resolver: URLResolver, prefix: str) -> Iterator[tuple[URLPattern, str]]:
    """All addresses, their parts as <name>."""
    for each in resolver.url_patterns:
        if isinstance(each, URLResolver):
            yield from _patterns(each, prefix + _route(each))
        else:
            yield each, prefix + _route(each)


def _route(each: URLPattern | URLResolver) -> str:
    """Its part of the address, with each named part in angle brackets."""
    pattern: Any = each.pattern
    if not hasattr(pattern, "_route"):
        return simplify_regex(str(pattern)).lstrip("/")
    parts = _split(str(pattern._route))
    return "".join(f"<{part[1:-1].rpartition(':')[2]}>" if part.endswith(">") else part for part in parts)


def _split(route: str) -> list[str]:
    parts, rest = [], route
    while "<" in rest:
        before, _, rest = rest.partition("<")
        name, _, rest = rest.partition(">")
        parts += [before, f"<{name}>"]
    return [*parts, rest]


def _pages_of(pattern: URLPattern, route: str, user: Any) -> Iterator[Page]:
    parts = [part[1:-1] for part in _split(route) if part.endswith(">")]
    view = _view_of(pattern)
    if not _answers_get(pattern, view):
        return
    if not parts:
        yield Page(route, f"/{route}")
    elif len(parts) == 1 and parts[0] in _ROW_PARTS:
        for which, key in _rows(view, parts[0], user):
            yield Page(f"{route} {which}", "/" + route.replace(f"<{parts[0]}>", str(key)))


def _view_of(pattern: URLPattern) -> Any:
    """The class or the admin behind an address."""
    callback: Any = pattern.callback
    return getattr(callback, "model_admin", None) or getattr(callback, "cls", None) or callback


def _answers_get(pattern: URLPattern, view: Any) -> bool:
    actions = getattr(pattern.callback, "actions", None)
    if actions is not None:
        return "get" in actions
    return hasattr(view, "get") or not isinstance(view, type)


def _rows(view: Any, part: str, user: Any) -> Iterator[tuple[str, Any]]:
    """The oldest and the newest row that the person sees of the kind that an address is about."""
    found = getattr(view, "queryset", None)
    model = getattr(view, "model", None) or getattr(found, "model", None)
    if model is None or part == "budget_id":
        return
    field = "pk" if part in ("object_id", "pk") else part
    seen: QuerySet[Any] = visible(model._default_manager.all(), person_of(user)).order_by("pk")
    for which, row in (("oldest", seen.first()), ("newest", seen.last())):
        if row is not None:
            yield which, getattr(row, field)


def _list_pages(model_admin: Any, user: Any) -> Iterator[Page]:
    """What a list offers: search, the first choice of each filter, each order, and a page far down."""
    request = RequestFactory().get("/")
    request.user = user if user is not None else AnonymousUser()
    if not model_admin.has_view_permission(request):
        return
    try:
        changes = model_admin.get_changelist_instance(request)
    except PermissionDenied:
        return
    name = f"admin/{model_admin.opts.app_label}/{model_admin.opts.model_name}/"
    if model_admin.search_fields:
        yield Page(f"{name} searched", f"/{name}?q={_SEARCHED}")
    for spec in changes.filter_specs:
        chosen = [choice["query_string"] for choice in spec.choices(changes) if "query_string" in choice][1:2]
        for query in chosen:
            yield Page(f"{name} by {spec.title}", f"/{name}{query}")
    for number, column in enumerate(changes.list_display):
        if model_admin.get_sortable_by(request) and changes.get_ordering_field(column):
            yield Page(f"{name} ordered by {column}", f"/{name}?o=-{number}")
    if changes.result_count > _FAR_PAGE * changes.list_per_page:
        yield Page(f"{name} far down", f"/{name}?p={_FAR_PAGE}")


def _home_pages() -> Iterator[Page]:
    for page in ("platform", "finance", "team"):
        yield Page(f"home {page}", f"/admin/?page={page}")
    for order in ("name", "-spent_usd", "-used_percent", "cost_centre"):
        yield Page(f"home finance by {order}", f"/admin/?page=finance&teams-sort={order}&teams-q={_SEARCHED}")


def _spend_pages() -> Iterator[Page]:
    for group in GROUPS:
        if group not in ("day", "hour"):
            for span in ("month", "last-month", "week"):
                asked = urlencode({"group_by": group, "span": span})
                yield Page(f"spend page by {group}, {span}", f"/admin/ledger/hourrollup/?{asked}")
    for mode in ("enforced", "shadow"):
        asked = urlencode({"mode": mode, "span": "last-month"})
        yield Page(f"refusals page, {mode}", f"/admin/ledger/refusalcount/?{asked}")


def _spend_queries() -> Iterator[Page]:
    """By each group and each two of them; narrowed; as a file."""
    start = timezone.now().date() - timedelta(days=_SPAN_DAYS)
    for groups in (*((group,) for group in GROUPS), *combinations(GROUPS, 2)):
        asked = {"group_by": ",".join(groups), "from": start.isoformat()}
        yield Page(f"spend by {asked['group_by']}", f"/api/v1/spend?{urlencode(asked)}")
        for narrowed in ({"team": "team-0"}, {"model": "openai-0"}):
            name, value = next(iter(narrowed.items()))
            yield Page(f"spend by {asked['group_by']} of {value}", f"/api/v1/spend?{urlencode(asked | {name: value})}")
        yield Page(f"spend by {asked['group_by']} as CSV", f"/api/v1/spend?{urlencode(asked | {'format': 'csv'})}")
