"""Who reads the log, and what it says to them, in the admin and over the API."""

from __future__ import annotations

import csv
from typing import Any

import pytest
from django.test import Client

from control_plane.audit.models import AuditEntry
from control_plane.audit.sentences import sentence
from control_plane.budgets.models import Budget
from control_plane.keys.models import VirtualKey
from control_plane.teams.models import Membership, Team, User
from tests.control_plane.audit.conftest import Newest
from tests.control_plane.cast import Api

LIST = "/admin/audit/auditentry/"


def browser_of(api: Api, name: str, role: Any, team: Team | None = None) -> Client:
    user = User.objects.create_user(name, is_staff=True)
    Membership.objects.create(user=user, organization=api.organization, team=team, role=role)
    client = Client()
    client.force_login(user)
    return client


def downloaded(answer: Any) -> str:
    return b"".join(answer.streaming_content).decode()


@pytest.fixture
def two_teams(api: Api) -> Api:
    for slug in ("search", "vision"):
        api.team(slug)
        api.create("keys", team=slug, name=f"key-of-{slug}")
    return api


def test_entries_are_sentences(api: Api, newest: Newest) -> None:
    api.team()
    budget = api.budget(amount=5_000 * 10**9)
    assert sentence(newest("budget")) == "alice created budget Search, monthly"
    api.change(f"budgets/{budget['id']}", amount=8_000 * 10**9)
    assert sentence(newest("budget")) == "alice raised budget Search, monthly: amount $5,000.00 → $8,000.00"
    api.change(f"budgets/{budget['id']}", active=False)
    assert sentence(newest("budget")) == "alice switched off budget Search, monthly"
    limit = api.limit()
    api.change(f"limits/{limit['id']}", amount=60, shadow=True)
    assert sentence(newest("limit")) == "alice lowered limit rpm: amount 600 requests → 60 requests, shadow no → yes"
    key = api.create("keys", team="search", name="a")
    VirtualKey.objects.filter(pk=key["id"]).update(revoked_at="2026-11-01T00:00:00Z")
    assert sentence(newest("key")).endswith(" revoked key a")
    assert sentence(newest("release")).startswith("alice published release ")


def test_the_list_filters_exports_and_leads_to_what_differs(two_teams: Api, pages: Client) -> None:
    budget = two_teams.budget(amount=5_000)
    two_teams.change(f"budgets/{budget['id']}", amount=6_000)
    entry = AuditEntry.objects.filter(kind="budget").first()
    assert entry is not None

    listed = pages.get(LIST, {"kind": "budget", "actor": "alice", "action": "changed"}).content.decode()
    assert "alice raised budget Search, monthly" in listed
    assert "created budget" not in listed
    detail = pages.get(f"{LIST}{entry.pk}/change/").content.decode()
    assert "Before and after" in detail
    assert "$0.000006" in detail
    lines = downloaded(pages.get(f"{LIST}export.csv", {"kind": "budget", "actor": "alice"})).splitlines()
    rows = list(csv.DictReader(lines))
    assert [row["action"] for row in rows] == ["created", "changed"]
    assert {"before", "after", "actor", "reason", "sequence", "hash"} <= rows[0].keys()


def test_an_objects_history_is_the_logs(two_teams: Api, pages: Client) -> None:
    budget = two_teams.budget()
    path = f"/admin/budgets/budget/{budget['id']}"
    assert f"{path}/history/" in pages.get(f"{path}/change/").content.decode()

    answer = pages.get(f"{path}/history/", follow=True)

    assert answer.redirect_chain[-1][0] == f"{LIST}?kind=budget&object_id={budget['id']}"
    assert "created budget" in answer.content.decode()


def test_each_reads_what_their_role_reaches(two_teams: Api) -> None:
    search = Team.objects.get(slug="search")
    auditor = browser_of(two_teams, "audrey", "auditor")
    owner = browser_of(two_teams, "olivia", "owner", search)
    member = browser_of(two_teams, "mark", "member", search)

    seen_by_auditor = auditor.get(LIST).content.decode()
    assert "key-of-search" in seen_by_auditor
    assert "key-of-vision" in seen_by_auditor
    assert "created user mark" in seen_by_auditor, "who belongs to the organization is its matter"
    seen_by_owner = owner.get(LIST).content.decode()
    assert "key-of-search" in seen_by_owner
    assert "key-of-vision" not in seen_by_owner
    assert "key-of-vision" not in downloaded(owner.get(f"{LIST}export.jsonl"))
    assert member.get(LIST).status_code == 403
    assert member.get(f"{LIST}export.csv").status_code == 403
    entry = AuditEntry.objects.get(kind="key", object_name="key-of-vision")
    assert "key-of-vision" not in owner.get(f"{LIST}{entry.pk}/change/", follow=True).content.decode()
    assert auditor.post(f"{LIST}{entry.pk}/change/", {"actor": "x"}).status_code == 403


def test_the_api_filters_and_pages(two_teams: Api) -> None:
    budget = two_teams.budget()
    Budget.objects.update(name="=1+1")

    page = two_teams.get("audit?kind=key&page_size=1")
    assert [row["object_name"] for row in page["results"]] == ["key-of-vision"]
    assert page["next"]
    by_object = two_teams.get(f"audit?kind=budget&object={budget['id']}&action=created&actor=alice&way=api")
    assert [row["sentence"] for row in by_object["results"]] == ["alice created budget Search, monthly"]
    assert two_teams.get("audit?to=2020-01-01")["results"] == []
    assert two_teams.get("audit?from=2020-01-01&kind=team")["results"]
    lines = downloaded(two_teams.call("GET", "audit?format=csv&kind=budget&object=" + str(budget["id"]))).splitlines()
    assert [row["object_name"] for row in csv.DictReader(lines)] == ["Search, monthly", "'=1+1"]
    assert two_teams.refused_fields("GET", "audit?kind=nonsense&colour=red", {}) >= {"colour"}
    assert two_teams.call("POST", "audit", {}).status_code == 405
