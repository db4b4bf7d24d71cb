"""Virtual keys in the admin: found, rotated and revoked in numbers."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone

from control_plane.keys.models import VirtualKey
from control_plane.teams.models import Membership, Team, User
from kong_plugins.llm.keys import key_digest
from tests.control_plane.cast import Api, post, shown_errors

LIST = "/admin/keys/virtualkey/"


@pytest.fixture
def ids(api: Api) -> dict[str, str]:
    """Three keys of the team search, by their names."""
    api.team()
    return {name: api.create("keys", team="search", name=name)["id"] for name in ("web", "batch", "lab")}


def test_a_key_is_rotated_on_a_page_that_shows_the_new_secret_once(
    api: Api, pages: Client, ids: dict[str, str]
) -> None:
    path = f"{LIST}{ids['web']}/rotate/"
    assert "Former secret: none" in pages.get(path).content.decode()

    answer = pages.post(path, {"grace_hours": "168"})

    [full_key] = set(re.findall(r"bsr_\w+", answer.content.decode()))
    assert "no-store" in answer["cache-control"]
    record = api.store.get_key(ids["web"])
    assert record is not None
    assert (record.digest, record.generation) == (key_digest(full_key, settings.KEY_PEPPER), 2)
    for shown in (path, f"{LIST}{ids['web']}/change/", LIST):
        assert full_key not in pages.get(shown).content.decode()
    assert "never used" in pages.get(path).content.decode()
    assert "End it first" in shown_errors(pages, path, {"grace_hours": "24"})

    pages.post(f"{LIST}{ids['web']}/end_grace/", {"_form_submitted": "True"})
    ended = api.store.get_key(ids["web"])
    assert ended is not None
    assert ended.former_digest is None


def test_chosen_keys_are_revoked_after_a_question(api: Api, pages: Client, ids: dict[str, str]) -> None:
    chosen = {"action": "revoke_chosen", "_selected_action": [ids["web"], ids["lab"]]}

    asked = pages.post(LIST, chosen).content.decode()
    assert "Revoke 2 keys" in asked
    assert VirtualKey.objects.filter(revoked_at=None).count() == 3
    post(pages, LIST, chosen | {"confirmed": "yes"})

    records = {name: api.store.get_key(key_id) for name, key_id in ids.items()}
    assert {name for name, record in records.items() if record and record.active} == {"batch"}


def test_where_a_key_may_be_used_is_entered_with_commas(api: Api, pages: Client, ids: dict[str, str]) -> None:
    fields = {"team": Team.objects.get().pk, "name": "new", "tags": "", "application": "search-web"}
    rules = {"allowed_routes": "openai-embeddings, models", "allowed_networks": "10.20.0.0/16,2001:db8::/32"}

    assert "is no network" in shown_errors(pages, f"{LIST}add/", fields | {"allowed_networks": "10.20.1.1/16"})
    post(pages, f"{LIST}add/", fields | rules)

    key = VirtualKey.objects.get(name="new")
    assert (key.allowed_routes, key.allowed_networks) == (
        ["openai-embeddings", "models"],
        ["10.20.0.0/16", "2001:db8::/32"],
    )
    post(pages, f"{LIST}{key.pk}/change/", fields)
    key.refresh_from_db()
    assert (key.allowed_routes, key.allowed_networks) == (None, None)


def test_the_list_is_narrowed_down_to_what_needs_somebody(api: Api, pages: Client, ids: dict[str, str]) -> None:
    api.change(f"keys/{ids['web']}", rotate_every_days=30)
    api.change(f"keys/{ids['lab']}", expires_at=(timezone.now() + timedelta(days=3)).isoformat())
    VirtualKey.objects.filter(pk=ids["web"]).update(created_at=timezone.now() - timedelta(days=40))
    api.call("POST", f"keys/{ids['batch']}/rotate", {})

    for query, found in (
        ("due=rotation", {"web"}),
        ("due=expiry", {"lab"}),
        ("unused=30", {"web"}),
        ("unused=90", set()),
        ("state=grace", {"batch"}),
        ("state=active", {"web", "batch", "lab"}),
        ("state=revoked", set()),
        ("q=bat", {"batch"}),
        ("", {"web", "batch", "lab"}),
    ):
        page = pages.get(f"{LIST}?{query}").content.decode()
        assert {name for name, key_id in ids.items() if f"{key_id}/change/" in page} == found, query


def test_a_member_rotates_and_revokes_only_what_they_have_made(api: Api, ids: dict[str, str]) -> None:
    bob = User.objects.create_user("bob", is_staff=True)
    Membership.objects.create(user=bob, organization=api.organization, team=Team.objects.get(), role="member")
    VirtualKey.objects.filter(pk=ids["web"]).update(created_by=bob)
    browser = Client()
    browser.force_login(bob)

    assert browser.get(f"{LIST}{ids['batch']}/rotate/").status_code in (302, 403)
    browser.post(f"{LIST}{ids['batch']}/rotate/", {"grace_hours": "0"})
    browser.post(f"{LIST}{ids['web']}/rotate/", {"grace_hours": "0"})
    assert dict(VirtualKey.objects.values_list("name", "generation")) == {"web": 2, "batch": 1, "lab": 1}

    chosen = {"action": "revoke_chosen", "_selected_action": list(ids.values()), "confirmed": "yes"}
    browser.post(LIST, chosen)
    assert set(VirtualKey.objects.filter(revoked_at=None).values_list("name", flat=True)) == {"batch", "lab"}
