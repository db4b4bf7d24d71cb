"""Two editors of one row: the second is told of the first, instead of undoing what they did."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from control_plane.budgets.models import Budget
from control_plane.releases.services import publish_at_start
from control_plane.teams.models import User
from tests.control_plane.cast import Api, all_at_once
from tests.control_plane.ledger.traffic import Traffic


@pytest.fixture
def alice(transactional_db: None) -> User:
    """Her rows are really committed: two editors come at once."""
    return User.objects.create_superuser("alice")


@pytest.fixture
def address(api: Api) -> str:
    api.team()
    return f"budgets/{api.budget()['id']}"


def test_the_second_of_two_editors_is_refused(api: Api, address: str) -> None:
    seen = api.call("GET", address)["etag"]

    first = api.call("PATCH", address, {"amount": 2_000}, if_match=seen)
    second = api.call("PATCH", address, {"amount": 3_000}, if_match=seen)

    assert (first.status_code, second.status_code) == (200, 409)
    assert second["content-type"] == "application/problem+json"
    assert api.get(address)["amount"] == 2_000
    again = api.call("PATCH", address, {"amount": 3_000}, if_match=first["etag"])
    assert (again.status_code, again["etag"]) == (200, api.call("GET", address)["etag"])


def test_of_two_at_the_same_moment_one_is_refused(api: Api, address: str) -> None:
    seen = api.call("GET", address)["etag"]

    answers = all_at_once(
        [partial(api.call, "PATCH", address, {"amount": amount}, if_match=seen) for amount in range(2_000, 2_004)]
    )

    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]


def test_what_is_spent_meanwhile_is_no_change_of_the_budget(api: Api, address: str) -> None:
    api.change(address, amount=1_000_000)
    before = api.call("GET", address)
    publish_at_start(api.organization.pk)
    Traffic(api.store, api.organization).hold()
    after = api.call("GET", address)

    assert before["etag"] == after["etag"]
    Budget.objects.update(name="Renamed")
    assert api.call("GET", address)["etag"] != before["etag"]


def test_who_sends_no_version_overwrites_and_a_star_means_whatever_there_is(api: Api, address: str) -> None:
    assert api.call("PATCH", address, {"amount": 2_000}).status_code == 200
    assert api.call("PATCH", address, {"amount": 3_000}, if_match="*").status_code == 200
    answer = api.call("PATCH", address, {"amount": 4_000}, if_match="unquoted")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "If-Match")


@pytest.mark.parametrize("kind", ["teams", "limits", "deployments", "keys", "webhooks"])
def test_every_kind_of_row_has_versions(api: Api, kind: str) -> None:
    api.team()
    kinds: dict[str, Callable[[], tuple[Any, dict[str, Any]]]] = {
        "teams": lambda: ("search", {"name": "S"}),
        "limits": lambda: (api.limit()["id"], {"amount": 7}),
        "deployments": lambda: (api.deployment()["id"], {"price": {"input_usd_per_mtok": "1"}}),
        "keys": lambda: (api.create("keys", team="search", name="prod")["id"], {"name": "x"}),
        "webhooks": lambda: (api.create("webhooks", url="https://hooks.example.com/x")["id"], {"active": False}),
    }
    made = kinds[kind]()
    address = f"{kind}/{made[0]}"
    seen = api.call("GET", address)["etag"]

    assert [api.call("PATCH", address, made[1], if_match=seen).status_code for _ in range(2)] == [200, 409]
