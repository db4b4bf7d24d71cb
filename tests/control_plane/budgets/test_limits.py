"""Limits, and what gateways learn of them."""

from __future__ import annotations

from typing import Any

import pytest

from kong_plugins.llm.release import Limit, Scope
from tests.control_plane.cast import Api


def test_a_limit_is_in_the_policy_when_its_creation_answers(api: Api) -> None:
    api.team()
    api.model()

    created = api.limit(model="gpt-4o-mini", shadow=True)

    assert api.policy().limits == (
        Limit(
            id=str(created["id"]),
            scope=Scope(kind="team", subject="search", model="gpt-4o-mini"),
            unit="requests",
            amount=600,
            window_ms=60_000,
            shadow=True,
        ),
    )
    assert created["window_seconds"] == 60


def test_a_limit_may_be_about_one_provider_and_keys_with_one_tag(api: Api) -> None:
    api.team()
    api.provider()

    created = api.limit(provider="openai", tag="prod")

    assert api.policy().limits[0].scope == Scope(kind="team", subject="search", provider="openai", tag="prod")
    assert (created["provider"], created["tag"]) == ("openai", "prod")
    assert api.refused_fields("PATCH", f"limits/{created['id']}", {"tag": "batch"}) == {"tag"}


def test_a_limit_with_a_line_and_shares_is_in_the_policy(api: Api) -> None:
    api.team()

    created = api.limit(queue_seconds=30, tier_shares_percent={"experimental": 20, "normal": 100})

    [limit] = api.policy().limits
    assert (limit.queue_ms, limit.tier_shares_percent) == (30_000, {"experimental": 20})
    assert (created["queue_seconds"], created["tier_shares_percent"]) == (30, {"experimental": 20})

    api.change(f"limits/{created['id']}", queue_seconds=0, tier_shares_percent={})
    [limit] = api.policy().limits
    assert (limit.queue_ms, limit.tier_shares_percent) == (0, {})


def test_a_share_of_all_is_no_share_and_makes_no_release(api: Api) -> None:
    api.team()
    limit_id = api.limit(tier_shares_percent={"normal": 50, "experimental": 20})["id"]
    before = api.policy()

    api.change(f"limits/{limit_id}", tier_shares_percent={"experimental": 20, "critical": 100, "normal": 50})

    assert (api.policy().number, api.policy().checksum) == (before.number, before.checksum)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"shadow": True, "queue_seconds": 1}, "In shadow mode nothing is refused"),
        ({"tier_shares_percent": {"gold": 1}}, "The tiers are critical, normal, experimental"),
        ({"tier_shares_percent": {"critical": 0, "normal": 0, "experimental": 0}}, "set the amount to 0"),
        ({"amount": 4, "tier_shares_percent": {"experimental": 20}}, "give it at least 25 %"),
    ],
)
def test_what_would_have_no_effect_is_refused_with_the_reason(api: Api, fields: dict[str, Any], complaint: str) -> None:
    api.team()
    limit_id = api.limit()["id"]

    answer = api.call("PATCH", f"limits/{limit_id}", fields)

    [error] = answer.json()["errors"]
    assert error["field"] in fields
    assert complaint in error["message"]


def test_a_limit_with_shares_can_be_closed_at_once(api: Api) -> None:
    api.team()
    limit_id = api.limit(tier_shares_percent={"experimental": 20})["id"]

    api.change(f"limits/{limit_id}", amount=0)

    assert api.policy().limits[0].amount == 0


def test_a_changed_limit_is_in_the_policy_when_the_change_answers(api: Api) -> None:
    api.team()
    limit_id = api.limit()["id"]
    before = api.policy().number

    api.change(f"limits/{limit_id}", amount=0)

    assert api.policy().limits[0].amount == 0
    assert api.policy().number == before + 1


def test_an_inactive_limit_leaves_the_policy(api: Api) -> None:
    api.team()
    limit_id = api.limit()["id"]

    api.change(f"limits/{limit_id}", active=False)

    assert api.policy().limits == ()


def test_a_limit_may_be_about_each_user_or_about_one(api: Api) -> None:
    api.limit(name="each", scope="user", subject=None)
    api.limit(name="one", scope="user", subject="bob@example.com")

    assert {limit.scope.subject for limit in api.policy().limits} == {None, "bob@example.com"}


def test_two_limits_cannot_share_a_name(api: Api) -> None:
    api.team()
    api.limit()

    fields = {"name": "rpm", "scope": "team", "subject": "search", "unit": "tokens", "amount": 1, "window_seconds": 60}
    assert api.refused_fields("POST", "limits", fields) == {None}
