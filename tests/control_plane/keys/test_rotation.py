"""A key's second secret: the same key to everybody, and the first one on its way out."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

from django.conf import settings
from django.utils import timezone

from control_plane.keys.models import VirtualKey
from kong_plugins.llm.keys import KeyRecord, key_digest, key_id_of
from tests.control_plane.cast import Api, all_at_once


def new_key(api: Api, **fields: Any) -> Any:
    api.team()
    return api.create("keys", **({"team": "search", "name": "search-prod"} | fields))


def rotated(api: Api, key_id: str, **asked: Any) -> Any:
    answer = api.call("POST", f"keys/{key_id}/rotate", asked)
    assert answer.status_code == 200, answer.content
    return answer.json()


def record_of(api: Api, key_id: str) -> KeyRecord:
    record = api.store.get_key(key_id)
    assert record is not None
    return record


def good(api: Api, key_id: str, *keys: str) -> list[int | None]:
    """The generation of each key that a gateway would let in now."""
    record, at_ms = record_of(api, key_id), int(timezone.now().timestamp() * 1000)
    return [record.generation_of(key_digest(key, settings.KEY_PEPPER), at_ms=at_ms) for key in keys]


def test_both_secrets_of_a_rotated_key_are_good_and_name_the_same_key(api: Api) -> None:
    before = new_key(api, tags=["prod"], expires_at="2030-01-01T00:00:00Z")

    after = rotated(api, before["id"])

    assert key_id_of(after["key"]) == before["id"] == after["id"]
    assert good(api, before["id"], before["key"], after["key"]) == [1, 2]
    until = VirtualKey.objects.get().former_until
    assert until is not None
    assert timedelta(hours=23) < until - timezone.now() <= timedelta(hours=24)
    assert after["former_secret"]["last_used_at"] is None
    assert {name: after[name] for name in ("tags", "expires_at", "created_at")} == {
        name: before[name] for name in ("tags", "expires_at", "created_at")
    }
    assert "key" not in api.get(f"keys/{before['id']}")


def test_the_former_secret_ends_by_itself_at_once_or_when_told_to(api: Api) -> None:
    first = new_key(api)
    second = rotated(api, first["id"], grace_hours=1)
    record = record_of(api, first["id"])
    assert record.former_until_ms is not None
    digest = key_digest(first["key"], settings.KEY_PEPPER)
    assert record.generation_of(digest, at_ms=record.former_until_ms - 1) == 1
    assert record.generation_of(digest, at_ms=record.former_until_ms) is None

    assert api.call("POST", f"keys/{first['id']}/end-grace").json()["former_secret"] is None
    assert good(api, first["id"], first["key"], second["key"]) == [None, 2]
    version = record_of(api, first["id"]).version
    api.call("POST", f"keys/{first['id']}/end-grace")
    assert record_of(api, first["id"]).version == version

    third = rotated(api, first["id"], grace_hours=0)
    assert good(api, first["id"], first["key"], second["key"], third["key"]) == [None, None, 3]


def test_no_third_secret_is_good_beside_two(api: Api) -> None:
    """A rotation while the former secret is still good would end that one without anybody having said so."""
    first = new_key(api)
    second = rotated(api, first["id"])

    refused = api.call("POST", f"keys/{first['id']}/rotate", {})
    assert refused.status_code == 400
    assert "End it first" in refused.json()["detail"]

    third = rotated(api, first["id"], grace_hours=0)
    assert good(api, first["id"], first["key"], second["key"], third["key"]) == [None, None, 3]


def test_a_key_that_is_not_in_force_and_a_grace_that_is_none_are_refused(api: Api) -> None:
    key_id = new_key(api)["id"]
    for grace in (-1, 721, 1.5, "24", None):
        assert api.refused_fields("POST", f"keys/{key_id}/rotate", {"grace_hours": grace}) == {"grace_hours"}
    assert api.refused_fields("POST", f"keys/{key_id}/rotate", {"grace": 1}) == {"grace"}
    assert VirtualKey.objects.get().generation == 1

    expired = api.create("keys", team="search", name="old", expires_at="2026-01-01T00:00:00Z")["id"]
    api.call("POST", f"keys/{key_id}/revoke")
    for which, state in ((key_id, "revoked"), (expired, "expired")):
        answer = api.call("POST", f"keys/{which}/rotate", {})
        assert (answer.status_code, state in answer.json()["detail"]) == (400, True)


def test_revoking_ends_both_secrets(api: Api) -> None:
    first = new_key(api)
    rotated(api, first["id"])

    shown = api.call("POST", f"keys/{first['id']}/revoke").json()

    assert (shown["state"], shown["former_secret"]) == ("revoked", None)
    assert record_of(api, first["id"]).active is False


def test_of_two_rotations_at_once_one_is_refused(api: Api) -> None:
    key_id = new_key(api)["id"]

    answers = all_at_once([partial(api.call, "POST", f"keys/{key_id}/rotate", {})] * 3)

    assert sorted(answer.status_code for answer in answers) == [200, 400, 400]
    assert (VirtualKey.objects.get().generation, record_of(api, key_id).generation) == (2, 2)


def test_many_keys_are_revoked_together_or_none_is(api: Api) -> None:
    api.team()
    ids = [api.create("keys", team="search", name=f"key-{number}")["id"] for number in range(3)]

    assert api.refused_fields("POST", "keys/revoke", {"ids": [*ids, "ABCDEFGHIJKL"]}) == {"ids"}
    assert api.refused_fields("POST", "keys/revoke", {"ids": []}) == {"ids"}
    assert all(record_of(api, key_id).active for key_id in ids)

    assert api.call("POST", "keys/revoke", {"ids": ids[:2] * 2}).json() == {"revoked": 2}
    assert [record_of(api, key_id).active for key_id in ids] == [False, False, True]
    assert api.call("POST", "keys/revoke", {"ids": ids}).json() == {"revoked": 1}
