"""Whether what gateways decide by, and the books, are in order."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from django.urls import reverse

from control_plane.dashboard.view import View
from control_plane.ledger.models import DeadLetter, HourRollup, Reconciliation
from control_plane.live import live_state
from control_plane.rights.scope import visible
from kong_plugins.llm.errors import StoreUnavailable
from kong_plugins.llm.recovery import Recovery

_CHECKED_WITHIN: Final = timedelta(minutes=5)


class Health(NamedTuple):
    """One thing that should be well: `text` says how it is, `link` leads to where more is told."""

    name: str
    is_well: bool
    text: str
    link: str = ""


def health_of(view: View) -> list[Health]:
    """What is looked at first when something is wrong."""
    return [*_redis(view), _policy(view), *_books(view)]


def _redis(view: View) -> Iterator[Health]:
    slug, store = view.organization.slug, live_state()
    try:
        state, holds = Recovery(store).state(slug), store.open_holds(slug)
        is_drained = Recovery(store).spent_when_drained(slug, []) is not None
    except StoreUnavailable:
        yield Health("Redis", False, "cannot be reached: hard budgets refuse until it is back")
        return
    if state.epoch is None:
        yield Health("Redis", False, "has lost its counters: run manage.py rebuild_counters")
    else:
        yield Health("Redis", True, f"answers, its counters are complete; {holds:,} calls are running")
    text = "has read every event" if is_drained else "is reading events; if this stays, look whether ingest runs"
    yield Health("Ledger", True, text, reverse("admin:ledger_usageevent_changelist"))


def _policy(view: View) -> Health:
    behind = view.organization.behind_since
    text = f"changes since {_instant(view, behind)} are not live yet" if behind else "is live"
    return Health("Policy", behind is None, text, reverse("admin:releases_release_changelist"))


def _books(view: View) -> Iterator[Health]:
    link = reverse("admin:ledger_reconciliation_changelist")
    checked = visible(Reconciliation.objects.all(), view.person).filter(organization=view.organization.slug).first()
    if checked is None:
        yield Health("Books", False, "have not been compared yet: does the worker run?", link)
    elif checked.difference:
        yield Health("Books", False, f"differ: {checked.difference}", link)
    else:
        is_recent = view.now - checked.checked_at < _CHECKED_WITHIN
        text = f"agree, compared at {_instant(view, checked.checked_at)}"
        yield Health("Books", is_recent, text if is_recent else f"{text}: does the worker run?", link)
    letters = visible(DeadLetter.objects.all(), view.person).filter(organization=view.organization.slug).count()
    text = f"{letters:,} events could not be read" if letters else "every event could be read"
    yield Health("Unread events", not letters, text, reverse("admin:ledger_deadletter_changelist"))
    waiting = HourRollup.objects.filter(organization=view.organization.slug, is_in_day=False)
    late = waiting.filter(day__lt=view.today).exists()
    yield Health("Days", not late, "a day lacks hours: does the worker run?" if late else "are added up")


def _instant(view: View, at: datetime) -> str:
    return f"{at.astimezone(view.organization.zone):%Y-%m-%d %H:%M}"
