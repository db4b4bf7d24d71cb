"""Virtual keys: what gateways know of one, from its making to its end."""

from __future__ import annotations

from functools import partial

from django.conf import settings
from django.test import Client

from control_plane.keys.models import VirtualKey
from control_plane.teams.models import Team
from kong_plugins.llm.keys import KeyRecord, key_digest, key_id_of
from tests.control_plane.cast import Api, all_at_once, post, shown_errors


def record_of(api: Api, key_id: str) -> KeyRecord:
    record = api.store.get_key(key_id)
    assert record is not None
    return record


def test_a_new_key_is_live_when_its_creation_answers(api: Api) -> None:
    api.team(tier="critical")

    created = api.create("keys", team="search", name="search-prod", tags=["prod"])

    record = record_of(api, created["id"])
    assert key_id_of(created["key"]) == created["id"]
    assert record == KeyRecord(
        id=created["id"],
        version=1,
        digest=key_digest(created["key"], settings.KEY_PEPPER),
        organization=api.organization.slug,
        team="search",
        name="search-prod",
        tier="critical",
        active=True,
        tags=("prod",),
    )


def test_a_key_speaks_for_users_only_where_it_was_told_to(api: Api) -> None:
    api.team()
    silent = api.create("keys", team="search", name="search-prod")["id"]
    speaking = api.create("keys", team="search", name="search-chat", speaks_for_users=True)["id"]

    assert record_of(api, silent).speaks_for_users is False
    assert record_of(api, speaking).speaks_for_users is True
    assert api.refused_fields("PATCH", f"keys/{silent}", {"speaks_for_users": True}) == {"speaks_for_users"}


def test_a_key_may_be_below_its_team_and_never_above(api: Api) -> None:
    api.team(tier="normal")
    key = api.create("keys", team="search", name="search-lab", own_tier="experimental")
    usual = api.create("keys", team="search", name="search-prod")

    assert (record_of(api, key["id"]).tier, key["tier"]) == ("experimental", "experimental")
    assert (record_of(api, usual["id"]).tier, usual["tier"]) == ("normal", "normal")
    assert api.refused_fields("PATCH", f"keys/{key['id']}", {"own_tier": "critical"}) == {"own_tier"}
    too_high = {"team": "search", "name": "x", "own_tier": "critical"}
    assert api.refused_fields("POST", "keys", too_high) == {"own_tier"}


def test_a_tier_above_the_teams_is_refused_beside_its_field(api: Api, pages: Client) -> None:
    api.team(tier="normal")
    fields = {"team": Team.objects.get().pk, "name": "search-prod", "tags": ""}

    assert "A key cannot be above its team" in shown_errors(
        pages, "/admin/keys/virtualkey/add/", fields | {"own_tier": "critical"}
    )
    post(pages, "/admin/keys/virtualkey/add/", fields | {"own_tier": "experimental"})
    assert record_of(api, VirtualKey.objects.get().pk).tier == "experimental"


def test_a_key_sinks_with_its_team_and_can_still_be_changed(api: Api) -> None:
    api.team(tier="critical")
    key_id = api.create("keys", team="search", name="search-batch", own_tier="normal")["id"]

    api.change("teams/search", tier="experimental")
    assert record_of(api, key_id).tier == "experimental"
    api.change(f"keys/{key_id}", tags=["batch"])
    assert api.change(f"keys/{key_id}", own_tier=None)["tier"] == "experimental"


def test_the_full_key_is_in_the_answer_to_its_creation_and_nowhere_else(api: Api) -> None:
    api.team()
    created = api.create("keys", team="search", name="search-prod")

    assert "key" not in api.get(f"keys/{created['id']}")
    assert "key" not in api.change(f"keys/{created['id']}", name="renamed")
    assert created["key"] not in str(VirtualKey.objects.values())


def test_a_revoked_key_is_inactive_for_gateways_when_the_revocation_answers(api: Api) -> None:
    api.team()
    key_id = api.create("keys", team="search", name="search-prod")["id"]

    answer = api.call("POST", f"keys/{key_id}/revoke")

    assert answer.status_code == 200
    assert answer["x-bursar-live"] == "true"
    assert answer.json()["active"] is False
    assert record_of(api, key_id).active is False


def test_revoking_twice_keeps_the_first_instant(api: Api) -> None:
    api.team()
    key_id = api.create("keys", team="search", name="search-prod")["id"]
    first = api.call("POST", f"keys/{key_id}/revoke").json()

    assert api.call("POST", f"keys/{key_id}/revoke").json() == first
    assert record_of(api, key_id).version == 2


def test_a_change_makes_a_new_version_and_an_equal_value_none(api: Api) -> None:
    api.team()
    api.model()
    key_id = api.create("keys", team="search", name="search-prod")["id"]

    api.change(f"keys/{key_id}", models=["gpt-4o-mini"], expires_at="2030-01-01T00:00:00Z", tags=["batch"])
    api.change(f"keys/{key_id}", models=["gpt-4o-mini"])

    record = record_of(api, key_id)
    assert record.version == 2
    assert record.models == ("gpt-4o-mini",)
    assert record.expires_at_ms == 1_893_456_000_000
    assert record.tags == ("batch",)


def test_a_teams_new_tier_reaches_each_of_its_keys(api: Api) -> None:
    api.team("search", tier="normal")
    api.team("support", tier="normal")
    of_search = [api.create("keys", team="search", name=f"key-{n}")["id"] for n in range(2)]
    of_support = api.create("keys", team="support", name="key")["id"]

    api.change("teams/search", tier="experimental")

    assert {record_of(api, key_id).tier for key_id in of_search} == {"experimental"}
    assert record_of(api, of_support).version == 1


def test_a_key_revoked_while_it_is_changed_ends_revoked(api: Api) -> None:
    api.team()
    key_id = api.create("keys", team="search", name="search-prod")["id"]

    all_at_once(
        [
            partial(api.call, "POST", f"keys/{key_id}/revoke"),
            *(partial(api.change, f"keys/{key_id}", name=f"renamed-{n}") for n in range(3)),
        ]
    )

    row = VirtualKey.objects.get(pk=key_id)
    assert not row.active
    assert row.version == 5
    assert row.live
    assert record_of(api, key_id) == KeyRecord(
        id=key_id,
        version=5,
        digest=row.digest,
        organization=api.organization.slug,
        team="search",
        name=row.name,
        tier="normal",
        active=False,
    )


def test_two_keys_of_a_team_cannot_share_a_name_even_at_once(api: Api) -> None:
    api.team()

    answers = all_at_once([lambda: api.call("POST", "keys", {"team": "search", "name": "same"})] * 4)

    assert sorted({answer.status_code for answer in answers}) in ([201, 400], [201, 409], [201, 400, 409])
    assert VirtualKey.objects.filter(name="same").count() == 1


def test_a_key_may_be_named_as_one_of_another_team(api: Api) -> None:
    api.team("search")
    api.team("support")

    api.create("keys", team="search", name="prod")
    api.create("keys", team="support", name="prod")
