"""The ledger in the admin, as Alice sees it."""

from __future__ import annotations

import re
from datetime import date
from typing import Any

import pytest
from django.test import Client

from control_plane.ledger.consumer import Consumer
from control_plane.ledger.days import aggregate_stale_days
from control_plane.ledger.models import DeadLetter, UsageEvent
from control_plane.ledger.periods import last_month, last_seven_days, this_month
from control_plane.ledger.reconciliation import reconcile_all
from control_plane.teams.models import User
from tests.control_plane.cast import Api
from tests.control_plane.ledger.traffic import Traffic

SPEND = "/admin/ledger/hourrollup/"
EVENTS = "/admin/ledger/usageevent/"


def text_of(pages: Client, path: str, **query: str) -> str:
    """What a page says, without its markup."""
    answer = pages.get(path, query)
    assert answer.status_code == 200
    body = answer.content.decode().split("<body", 1)[1]
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


def answer_of(pages: Client, path: str, **query: str) -> dict[str, Any]:
    """What a page was made of."""
    context = pages.get(path, query).context_data
    assert context is not None
    return context


def test_the_spend_page_tells_who_spent_what_this_month(
    api: Api, traffic: Traffic, consumer: Consumer, pages: Client
) -> None:
    api.team()
    key_id = api.create("keys", team="search", name="search-prod")["id"]
    traffic.call(key=key_id, amount_nusd=1_500_000_000, input_tokens=1_234_567, user="alice")
    traffic.call(team="support", amount_nusd=500_000_001)
    traffic.call(team="support", amount_nusd=None)
    consumer.drain()
    aggregate_stale_days()

    by_team = text_of(pages, SPEND)

    assert "search $1.50 75.0 % 1 1,234,567 5" in by_team
    assert "support $0.500000001 25.0 % 2 20 10" in by_team
    assert "Total $2.000000001 100.0 % 3 1,234,587 15" in by_team
    assert "1 call cost an amount that is not known" in by_team
    assert "search-prod $1.50" in text_of(pages, SPEND, group_by="key")
    assert "alice $1.50" in text_of(pages, SPEND, group_by="user", span="week")
    assert "mini $2.000000001" in text_of(pages, SPEND, group_by="model")
    assert "Nothing was spent" in text_of(pages, SPEND, span="last-month")
    assert "2.000000001" in answer_of(pages, SPEND)["chart"]


@pytest.mark.parametrize(
    "query",
    [
        {"span": "custom"},
        {"span": "custom", "first": "2026-11-02", "last": "2026-11-01"},
        {"span": "custom", "first": "2020-01-01", "last": "2026-11-01"},
        {"span": "custom", "first": "<script>", "last": "x"},
        {"span": "century"},
        {"group_by": "colour"},
        {"organization": "nobody's"},
    ],
)
def test_a_question_that_makes_no_sense_is_said_to_make_none(pages: Client, query: dict[str, str]) -> None:
    assert answer_of(pages, SPEND, **query)["form"].complaints
    assert "This month, by team" in text_of(pages, SPEND, **query)


def test_events_are_listed_found_and_shown_and_cannot_be_changed(
    traffic: Traffic, consumer: Consumer, pages: Client
) -> None:
    wanted = traffic.call(amount_nusd=1_500_000)
    other = traffic.call()
    consumer.drain()

    listed = text_of(pages, EVENTS)
    found = text_of(pages, EVENTS, q=wanted)
    filtered = text_of(pages, EVENTS, kind__exact="voided", quality__exact="exact")

    assert wanted in listed
    assert other in listed
    assert "$0.0015" in found
    assert other not in found
    assert wanted not in filtered
    path = f"{EVENTS}{UsageEvent.objects.get(request_id=wanted).pk}/"
    assert "$0.000005" in text_of(pages, f"{path}change/")
    assert pages.post(f"{path}change/", {"amount_nusd": "0"}).status_code == 403
    assert pages.post(f"{path}delete/", {"post": "yes"}).status_code == 403
    assert pages.get(f"{EVENTS}add/").status_code == 403


def test_what_befell_a_call_is_shown_and_filtered_by(traffic: Traffic, consumer: Consumer, pages: Client) -> None:
    usual = traffic.call()
    degraded = traffic.call(degraded_from="large", queued_ms=1_500)
    shadowed = traffic.call(shadow_refusals=["team limit of requests per minute"])
    consumer.drain()

    shown = {remark: text_of(pages, EVENTS, remark=remark) for remark in ("degraded", "shadow_refused", "queued")}

    assert "degraded from large, waited 1.5 s" in shown["degraded"]
    assert "refused by a shadow" in shown["shadow_refused"]
    found = {remark: [each for each in (usual, degraded, shadowed) if each in text] for remark, text in shown.items()}
    assert found == {"degraded": [degraded], "shadow_refused": [shadowed], "queued": [degraded]}
    page = text_of(pages, f"{EVENTS}{UsageEvent.objects.get(request_id=degraded).pk}/change/")
    assert "Degraded from large" in page
    page = text_of(pages, f"{EVENTS}{UsageEvent.objects.get(request_id=shadowed).pk}/change/")
    assert "Shadow refusals team limit of requests per minute" in page


def test_dead_letters_and_the_state_of_the_books_are_shown(traffic: Traffic, consumer: Consumer, pages: Client) -> None:
    traffic.call(organization="somebody-else")
    consumer.drain()
    reconcile_all()

    letter = DeadLetter.objects.get(organization=traffic.slug)
    assert "somebody-else" in text_of(pages, f"/admin/ledger/deadletter/{letter.pk}/change/")
    assert f"{traffic.slug} agree" in text_of(pages, "/admin/ledger/reconciliation/")


def test_whoever_has_no_leave_sees_nothing_of_it(api: Api) -> None:
    bob = User.objects.create_user("bob", is_staff=True)
    browser = Client()
    browser.force_login(bob)

    for path in (SPEND, EVENTS, "/admin/alerts/delivery/"):
        assert browser.get(path).status_code == 403


@pytest.mark.parametrize(
    ("span", "today", "first", "end"),
    [
        (this_month, date(2026, 12, 31), date(2026, 12, 1), date(2027, 1, 1)),
        (this_month, date(2028, 2, 29), date(2028, 2, 1), date(2028, 3, 1)),
        (last_month, date(2026, 1, 1), date(2025, 12, 1), date(2026, 1, 1)),
        (last_month, date(2026, 3, 31), date(2026, 2, 1), date(2026, 3, 1)),
        (last_seven_days, date(2026, 3, 2), date(2026, 2, 24), date(2026, 3, 3)),
    ],
)
def test_spans_of_days(span: object, today: date, first: date, end: date) -> None:
    assert callable(span)
    assert span(today) == (first, end)
