"""Limits, and what gateways learn of them."""

from __future__ import annotations

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
