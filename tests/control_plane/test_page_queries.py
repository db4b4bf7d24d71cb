"""No page asks the database more often where there are more rows."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from bench.large.calls import write_calls
from bench.large.happenings import make_happenings
from bench.large.opened_pages import MOST_QUERIES
from bench.large.organization import make_organization
from bench.large.page_list import pages_for
from bench.large.page_times import open_once
from bench.large.size import Size
from bench.large.sums import add_up_days, add_up_hours, check_sums
from control_plane.releases.services import publish_everything
from control_plane.teams.models import Organization, User

FEW = Size(teams=3, keys=9, rows=600, days=40, models=3)
MANY = Size(teams=30, keys=90, rows=1_800, days=40, models=30)
# Parts of the names of pages that ask what others ask too.
ALIKE = (" ordered by ", " oldest", " as CSV", ",", " of team-0", " of openai-0", "home finance by")


def asked_by_each_page(size: Size) -> dict[str, int]:
    """How often each page that a platform admin sees asks the database, in an organization of a size."""
    write_calls(make_organization(size), size.rows, size.days, timezone.now(), int)
    organization = Organization.objects.get()
    add_up_hours(organization.time_zone)
    add_up_days(int)
    make_happenings(organization)
    check_sums()
    publish_everything(organization.pk)
    user = User.objects.get(username="platform")
    client = Client(headers={"host": "localhost"})
    client.force_login(user)
    pages = [page for page in pages_for(user) if not any(part in page.name for part in ALIKE)]
    opened = {page.name: open_once(client, page) for page in pages}
    assert {name: each.status for name, each in opened.items() if each.status >= 500} == {}
    return {name: each.queries for name, each in opened.items() if each.status == 200}


@pytest.mark.timeout(400)
@pytest.mark.usefixtures("transactional_db", "live_redis")
def test_no_page_asks_more_often_where_there_are_more_rows(forget_everything: Callable[[], None]) -> None:
    few = asked_by_each_page(FEW)
    call_command("flush", interactive=False, verbosity=0)
    forget_everything()

    many = asked_by_each_page(MANY)

    assert len(many) > 100
    assert {name: (few[name], many[name]) for name in few.keys() & many.keys() if many[name] > few[name]} == {}
    assert {name: number for name, number in many.items() if number > MOST_QUERIES} == {}
