"""Where a key may be used, what uses it, when that was, and who is reminded of it."""

from __future__ import annotations

import importlib
import json
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.utils import timezone

from control_plane.alerts.messages import alert_message
from control_plane.alerts.models import Alert, Delivery
from control_plane.keys.models import KeyReminder, KeyUse, VirtualKey
from control_plane.keys.services import note_uses
from control_plane.keys.tasks import remind
from kong_plugins.llm.events import UsageEvent
from tests.control_plane.cast import Api

MINUTE_MS = 60_000


def key(api: Api, name: str = "search-prod", **fields: Any) -> Any:
    return api.create("keys", team="search", name=name, **fields)


def use(key_id: str, at_ms: int, *, generation: int = 1, protocol: str = "openai_chat") -> UsageEvent:
    return UsageEvent(
        id=f"{key_id}-{at_ms}:1",
        request_id="r",
        kind="posted",
        outcome="completed",
        organization="acme",
        team="search",
        key=key_id,
        seq=1,
        reserved_at_ms=at_ms,
        posted_at_ms=at_ms,
        key_generation=generation,
        protocol=protocol,
    )


def names(api: Api, query: str) -> set[str]:
    return {row["name"] for row in api.get(f"keys?{query}")["results"]}


def aged(key_id: str, days: int) -> None:
    VirtualKey.objects.filter(pk=key_id).update(created_at=timezone.now() - timedelta(days=days))


def test_gateways_learn_where_a_key_may_be_used(api: Api) -> None:
    api.team()
    networks = ["10.20.0.0/16", "2001:DB8:0::/32", " 192.0.2.7", "10.20.0.0/16"]

    created = key(api, routes=["openai-embeddings"], networks=networks)

    record = api.store.get_key(created["id"])
    assert record is not None
    assert record.routes == ("openai-embeddings",)
    assert record.networks == ("10.20.0.0/16", "2001:db8::/32", "192.0.2.7/32")
    assert created["networks"] == list(record.networks)
    assert api.change(f"keys/{created['id']}", networks=None, routes=None)["networks"] is None
    opened = api.store.get_key(created["id"])
    assert opened is not None
    assert (opened.routes, opened.networks, opened.version) == (None, None, 2)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("networks", ["10.20.1.1/16"]),
        ("networks", ["everywhere"]),
        ("networks", ["::ffff:10.0.0.0/104"]),
        ("networks", []),
        ("networks", ["10.0.0.0/8"] * 51),
        ("routes", ["a b"]),
        ("routes", []),
        ("application", "a b"),
        ("tags", ["app=search"]),
        ("rotate_every_days", 0),
        ("rotate_every_days", 731),
        ("contact", "a\u0000b"),
    ],
)
def test_what_cannot_be_is_refused_by_its_field(api: Api, field: str, value: Any) -> None:
    api.team()

    body = {"team": "search", "name": "search-prod", field: value}
    assert {str(name).split(".")[0] for name in api.refused_fields("POST", "keys", body)} == {field}


def test_the_application_is_a_tag_to_gateways_and_thus_in_spend(api: Api) -> None:
    api.team()
    created = key(api, application="search-web", tags=["prod"], description="Ranking", contact="ranking@example.com")

    record = api.store.get_key(created["id"])
    assert record is not None
    assert record.tags == ("app=search-web", "prod")
    assert (created["tags"], created["description"], created["contact"]) == (["prod"], "Ranking", "ranking@example.com")
    key(api, "other")
    assert names(api, "application=search-web") == {"search-prod"}


def test_a_tag_of_before_becomes_the_application_and_gateways_see_no_difference(api: Api) -> None:
    api.team()
    created, two = key(api, tags=["prod"]), key(api, "two")
    VirtualKey.objects.filter(pk=created["id"]).update(tags=["prod", "app=web"])
    VirtualKey.objects.filter(pk=two["id"]).update(tags=["app=a", "app=b"])
    migration = importlib.import_module("control_plane.keys.migrations.0004_rotation_restrictions_and_use")

    migration.tags_become_applications(apps, None)

    moved = VirtualKey.objects.get(pk=created["id"])
    assert (moved.application, moved.tags, set(moved.all_tags)) == ("web", ["prod"], {"app=web", "prod"})
    assert VirtualKey.objects.get(pk=two["id"]).tags == ["app=a", "app=b"]
    migration.applications_become_tags(apps, None)
    assert VirtualKey.objects.get(pk=created["id"]).tags == ["app=web", "prod"]


def test_the_last_use_is_kept_to_the_minute_for_each_secret_and_is_no_change_of_the_key(api: Api) -> None:
    api.team()
    key_id = key(api)["id"]
    api.call("POST", f"keys/{key_id}/rotate", {})
    version = VirtualKey.objects.get().version
    noon = 1_764_590_400_000

    note_uses([use(key_id, noon + 61_000), use(key_id, noon), use("unknown", noon)])
    note_uses([use(key_id, noon + 3 * MINUTE_MS + 999, generation=2, protocol="openai_embeddings")])
    note_uses([use(key_id, noon - MINUTE_MS), use(key_id, noon + 3 * MINUTE_MS, generation=2)])

    shown = api.get(f"keys/{key_id}")
    assert shown["last_used_at"] == "2025-12-01T12:03:00Z"
    assert shown["last_used_protocol"] == "openai_embeddings"
    assert shown["former_secret"]["last_used_at"] == "2025-12-01T12:01:00Z"
    assert KeyUse.objects.count() == 2
    assert VirtualKey.objects.get().version == version


def test_keys_are_found_by_how_long_nobody_has_used_them(api: Api) -> None:
    api.team()
    old, used, _new = key(api, "old"), key(api, "used"), key(api, "new")
    for each in (old, used):
        aged(each["id"], 100)
    note_uses([use(used["id"], int((timezone.now() - timedelta(days=40)).timestamp() * 1000))])

    assert names(api, "unused_for_days=30") == {"old", "used"}
    assert names(api, "unused_for_days=90") == {"old"}
    assert names(api, "") == {"old", "used", "new"}
    for wrong in ("-1", "30d", ""):
        assert api.refused_fields("GET", f"keys?unused_for_days={wrong}", None) == {"unused_for_days"}


def test_a_key_is_due_by_its_own_rule_or_the_organizations_whichever_comes_first(api: Api) -> None:
    api.team()
    for name, days in (("own", 30), ("longer", 400), ("none", None)):
        aged(key(api, name, rotate_every_days=days)["id"], 50)

    assert names(api, "rotation_due=true") == {"own"}
    api.change("organization", rotate_keys_every_days=45)
    assert names(api, "rotation_due=true") == {"own", "longer", "none"}
    api.change("organization", rotate_keys_every_days=60)
    assert names(api, "rotation_due=false") == {"longer", "none"}
    [own] = api.get("keys?name=own")["results"]
    assert timezone.now().isoformat() > own["rotation_due_at"]
    assert api.call("POST", f"keys/{own['id']}/rotate", {}).json()["rotation_due_at"] > timezone.now().isoformat()
    assert names(api, "rotation_due=true") == set()
    assert api.refused_fields("GET", "keys?rotation_due=yes", None) == {"rotation_due"}


def test_people_are_reminded_once_of_each_due_date_and_of_all_new_ones_together(api: Api) -> None:
    api.team()
    api.create("webhooks", url="http://127.0.0.1:9/hook")
    rotating = key(api, "rotating", rotate_every_days=30, contact="ranking@example.com")["id"]
    aged(rotating, 31)
    soon = (timezone.now() + timedelta(days=6)).isoformat()
    expiring = key(api, "expiring", expires_at=soon)["id"]
    key(api, "later", expires_at=(timezone.now() + timedelta(days=8)).isoformat())
    revoked = key(api, "revoked", expires_at=soon)["id"]
    api.call("POST", f"keys/{revoked}/revoke")

    remind()
    remind()

    alert = Alert.objects.get()
    assert (alert.kind, alert.title, Delivery.objects.count()) == ("keys_due", "2 keys are due", 1)
    content = json.loads(alert_message(alert).body)
    assert content["type"] == "keys.due"
    assert [(each["id"], each["due"], each["contact"]) for each in content["keys"]] == [
        (rotating, "rotation", "ranking@example.com"),
        (expiring, "expiry", ""),
    ]

    # The next day there is something new to tell, and only that.
    KeyReminder.objects.update(created_at=timezone.now() - timedelta(days=2))
    Alert.objects.update(period="2026-01-01")
    aged(key(api, "another", rotate_every_days=1)["id"], 2)
    remind()
    assert [each["name"] for each in Alert.objects.order_by("pk")[1].keys] == ["another"]


def test_keys_are_found_by_their_state(api: Api) -> None:
    api.team()
    key(api, "active")
    key(api, "expired", expires_at="2026-01-01T00:00:00Z")
    api.call("POST", f"keys/{key(api, 'revoked')['id']}/revoke")

    for state in ("active", "expired", "revoked"):
        assert names(api, f"state={state}") == {state}
