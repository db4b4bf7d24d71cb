"""A write that is sent again happens once, and is answered as before."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db.models import F
from django.utils import timezone

from control_plane.api.idempotency import forget_old_answers
from control_plane.api.models import StoredAnswer
from control_plane.api.services import issue_token
from control_plane.keys.models import VirtualKey
from control_plane.teams.models import Team, User
from tests.control_plane.cast import Api, all_at_once

TEAM = {"slug": "search", "name": "Search"}


@pytest.fixture
def alice(transactional_db: None) -> User:
    """Her rows are really committed: several requests come at once."""
    return User.objects.create_superuser("alice")


def test_the_second_gets_the_very_answer_of_the_first_and_nothing_happens_twice(api: Api) -> None:
    api.team()
    key = {"team": "search", "name": "prod"}

    first = api.call("POST", "keys", key, idempotency_key="one")
    second = api.call("POST", "keys", key, idempotency_key="one")

    assert (first.status_code, second.status_code) == (201, 201)
    assert second.content == first.content
    assert "idempotency-replayed" not in first
    assert second["idempotency-replayed"] == "true"
    assert [second[name] for name in ("content-type", "etag", "x-bursar-live")] == [
        first[name] for name in ("content-type", "etag", "x-bursar-live")
    ]
    assert VirtualKey.objects.count() == 1


def test_no_secret_lies_open_in_an_answer_that_is_kept(api: Api) -> None:
    api.team()
    secret = api.call("POST", "keys", {"team": "search", "name": "prod"}, idempotency_key="one").json()["key"]

    assert secret not in str(list(StoredAnswer.objects.values()))


def test_a_key_is_for_one_request_of_one_caller(api: Api) -> None:
    assert api.call("POST", "teams", TEAM, idempotency_key="one").status_code == 201

    for method, path, body in (
        ("POST", "teams", TEAM | {"tier": "critical"}),
        ("PATCH", "teams/search", TEAM),
        ("POST", "teams?x=1", TEAM),
    ):
        answer = api.call(method, path, body, idempotency_key="one")
        assert (answer.status_code, answer["content-type"]) == (422, "application/problem+json")
    _, token = issue_token(user_id=api.user.pk, organization_id=api.organization.pk, name="another")
    other = Api(api.organization, api.user, token, api.store)
    assert other.call("POST", "teams", TEAM, idempotency_key="one").status_code == 400  # there is such a team


def test_what_was_refused_may_be_tried_again_with_the_same_key(api: Api) -> None:
    assert api.call("PATCH", "teams/search", {"name": "X"}, idempotency_key="one").status_code == 404
    api.team()

    assert api.call("PATCH", "teams/search", {"name": "X"}, idempotency_key="one").status_code == 200


def test_of_many_at_once_one_is_carried_out(api: Api) -> None:
    def create() -> int:
        status: int = api.call("POST", "teams", TEAM, idempotency_key="one").status_code
        return status

    answers = all_at_once([create] * 6)

    assert set(answers) <= {201, 409}
    assert 201 in answers
    assert Team.objects.count() == 1


def test_an_answer_that_was_lost_is_no_reason_to_do_it_again(api: Api) -> None:
    api.call("POST", "teams", TEAM, idempotency_key="one")
    StoredAnswer.objects.update(status=None)
    assert api.call("POST", "teams", TEAM, idempotency_key="one").status_code == 409

    StoredAnswer.objects.update(status=201, sealed_body="v2:of:another:key")
    assert api.call("POST", "teams", TEAM, idempotency_key="one").status_code == 409
    assert Team.objects.count() == 1


def test_after_a_day_it_is_forgotten(api: Api) -> None:
    api.call("POST", "teams", TEAM, idempotency_key="one")
    api.call("POST", "teams", TEAM | {"slug": "b", "name": "B"}, idempotency_key="two")
    StoredAnswer.objects.update(created_at=timezone.now() - timedelta(hours=24, seconds=1))

    assert api.call("POST", "teams", TEAM, idempotency_key="one").status_code == 400
    assert forget_old_answers() == 1
    assert not StoredAnswer.objects.filter(created_at__lt=F("created_at")).exists()


@pytest.mark.parametrize("key", ["", "two words", "k" * 256])
def test_a_key_that_is_none_is_refused_by_name(api: Api, key: str) -> None:
    answer = api.call("POST", "teams", TEAM, idempotency_key=key)

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "Idempotency-Key")
    assert not Team.objects.exists()
