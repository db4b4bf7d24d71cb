"""Tables of home pages as files."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponseBase, HttpResponseForbidden
from django.utils import timezone

from control_plane.api.csv_answers import csv_response
from control_plane.dashboard.finance import EXPORT_COLUMNS, export_rows
from control_plane.dashboard.home import pages_for
from control_plane.dashboard.view import View
from control_plane.rights.person import person_of
from control_plane.rights.scope import visible
from control_plane.teams.models import Organization


def team_months(request: HttpRequest) -> HttpResponseBase:
    """The month of every team of an organization, as CSV; for those whose home page shows it."""
    person = person_of(request.user)
    organization = visible(Organization.objects.all(), person).filter(slug=request.GET.get("organization")).first()
    if organization is None or "finance" not in pages_for(person, organization):
        return HttpResponseForbidden("You may not see the spending of all teams.", content_type="text/plain")
    month = View(person=person, organization=organization, asked=request.GET, now=timezone.now()).month
    return csv_response(export_rows(month), EXPORT_COLUMNS, file_name=f"teams-{month.name}.csv")
