"""The page on which somebody sees which list prices have changed, and approves those that he wants."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone

from control_plane.catalog.listed_prices import SOURCE
from control_plane.catalog.price_import import Finding, apply, fingerprint, look_up
from control_plane.rights.person import person_of
from control_plane.rights.scope import changeable
from control_plane.teams.models import Organization


def import_page(request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
    """Show what could be imported; of a POST, apply what was chosen, if it still is what was seen."""
    if request.method == "POST":
        _apply_chosen(request)
        return HttpResponseRedirect(request.get_full_path())
    shown = [
        {
            "organization": organization,
            "changed": [(finding, fingerprint([finding])) for finding in found if finding.proposals],
            "unchanged": [finding for finding in found if not finding.proposals],
        }
        for organization in _administered(request).order_by("slug")
        if (found := look_up(organization.pk, now=timezone.now()))
    ]
    more = {
        "title": "List prices",
        "source": SOURCE,
        "shown": shown,
        "has_changes": any(part["changed"] for part in shown),
        "book": reverse("admin:catalog_price_changelist"),
    }
    return TemplateResponse(request, "admin/catalog/import_prices.html", context | more)


def _apply_chosen(request: HttpRequest) -> None:
    user: Any = request.user
    chosen = set(request.POST.getlist("chosen"))
    count, now = 0, timezone.now()
    for organization in _administered(request):
        found = look_up(organization.pk, now=now)
        count += apply(organization.pk, _still_as_seen(found, chosen), actor=user.get_username(), now=now)
    if chosen:
        messages.warning(request, f"{len(chosen)} of the choices have changed meanwhile; please look again.")
    messages.success(request, f"{count} rows were added to the price book.")


def _administered(request: HttpRequest) -> QuerySet[Organization]:
    """The organizations whose price books the person keeps."""
    return changeable(Organization.objects.all(), person_of(request.user))


def _still_as_seen(found: list[Finding], chosen: set[str]) -> list[Finding]:
    """Those of the findings that were chosen; which are taken out of `chosen`."""
    seen = [finding for finding in found if finding.proposals and fingerprint([finding]) in chosen]
    chosen -= {fingerprint([finding]) for finding in seen}
    return seen
