"""A key learns its own limits and what remains of them, and no number that belongs to others."""

from __future__ import annotations

import msgspec
import pytest

from kong_plugins.llm.admission import Admission
from kong_plugins.llm.errors import PolicyUnavailable
from kong_plugins.llm.release import Budget, Limit, Scope
from kong_plugins.llm.standing import BudgetStanding, LimitStanding
from kong_plugins.llm.store import Store
from tests.llm.cast import policy
from tests.llm.gateway import BUDGET, Gateway
from tests.llm.proxy import LossyProxy

TEAM = Scope(kind="team", subject=None)
ORGANIZATION = Scope(kind="organization", subject=None)


def limit(id: str, scope: Scope = TEAM, **changes: object) -> Limit:
    fields: dict[str, object] = {"unit": "requests", "amount": 10, "window_ms": 60_000}
    return Limit(id=id, scope=scope, **(fields | changes))  # type: ignore[arg-type]


def test_what_is_used_and_held_is_missing_from_what_remains(gateway: Gateway) -> None:
    gateway.publish(limits=(limit("rpm"), limit("slots", unit="concurrency")), budgets=(BUDGET,))
    period = gateway.set_cap(10**9)
    held = gateway.admit(max_tokens=400).meter.hold_nusd

    standing = gateway.admission.standing(gateway.caller())

    assert (standing.key, standing.team, standing.user) == (gateway.key_record.id, "search", None)
    requests, slots = standing.limits
    assert requests == LimitStanding(
        name="team limit of requests per minute",
        scope="team",
        unit="requests",
        window_ms=60_000,
        state="open",
        amount=10,
        remaining=9,
        reset_ms=requests.reset_ms,
    )
    assert requests.reset_ms is not None
    assert 50_000 < requests.reset_ms <= 61_000
    assert (slots.window_ms, slots.remaining, slots.reset_ms) == (None, 9, 0)
    [budget] = standing.budgets
    assert budget == BudgetStanding(
        name="team monthly budget",
        scope="team",
        unit="nusd",
        period=period,
        ends_at_ms=budget.ends_at_ms,
        refuses=True,
        state="open",
        amount=10**9,
        remaining=10**9 - held,
    )


def test_asking_changes_nothing(gateway: Gateway) -> None:
    gateway.publish(limits=(limit("rpm"),))

    first, second = (gateway.admission.standing(gateway.caller()) for _ in range(2))

    assert first == second
    assert first.limits[0].remaining == 10
    assert gateway.events() == []


def test_of_what_the_organization_shares_only_the_state_is_told(gateway: Gateway) -> None:
    shared = Budget(id="all", scope=ORGANIZATION, unit="requests", period="total")
    gateway.publish(limits=(limit("rpm", ORGANIZATION, amount=7777),), budgets=(shared,))
    gateway.store.set_cap(
        gateway.organization, "all", gateway.organization, "total", cap=8888, version=1, thresholds_percent=()
    )

    standing = gateway.admission.standing(gateway.caller())

    assert [limit.state for limit in standing.limits] == ["open"]
    assert [budget.state for budget in standing.budgets] == ["open"]
    assert standing.budgets[0].ends_at_ms is None
    told = msgspec.json.encode(standing).decode()
    assert "777" not in told
    assert "888" not in told


def test_a_used_up_limit_and_a_budget_whose_cap_was_lowered_have_nothing_left(gateway: Gateway) -> None:
    gateway.publish(limits=(limit("rpm", amount=2),), budgets=(BUDGET,))
    gateway.set_cap(10**9)
    gateway.admit(), gateway.admit()
    gateway.publish(limits=(limit("rpm", amount=1),), budgets=(BUDGET,))
    gateway.set_cap(0, version=2)

    standing = gateway.admission.standing(gateway.caller())

    assert [(each.state, each.remaining) for each in standing.limits] == [("used_up", 0)]
    assert [(each.state, each.remaining) for each in standing.budgets] == [("used_up", 0)]


def test_rules_of_one_model_or_provider_are_told_unless_the_key_may_not_use_it(gateway: Gateway) -> None:
    gateway.publish(
        limits=(
            limit("mini", Scope(kind="team", subject=None, model="mini")),
            limit("openai", Scope(kind="team", subject=None, provider="openai")),
            limit("secret", Scope(kind="team", subject=None, model="secret")),
            limit("others", Scope(kind="team", subject="support")),
            limit("tagged", Scope(kind="team", subject=None, tag="batch")),
            limit("shadow", shadow=True),
        )
    )

    assert [each.name for each in gateway.admission.standing(gateway.caller()).limits] == [
        "team (model mini) limit of requests per minute",
        "team (provider openai) limit of requests per minute",
    ]


def test_a_user_is_told_its_own_where_the_key_speaks_for_it(gateway: Gateway) -> None:
    gateway.publish(limits=(limit("each", Scope(kind="user", subject=None)),))
    _, key = gateway.new_key(speaks_for_users=True)

    def asked(key: str) -> tuple[str | None, int]:
        standing = gateway.admission.standing(gateway.caller(authorization=f"Bearer {key}", x_user_id="alice"))
        return standing.user, len(standing.limits)

    assert asked(key) == ("alice", 1)
    assert asked(gateway.key) == (None, 0)


def test_a_new_policy_counts_for_the_next_question(gateway: Gateway) -> None:
    assert gateway.admission.standing(gateway.caller()).limits == ()
    gateway.publish(limits=(limit("rpm"),))

    assert len(gateway.admission.standing(gateway.caller()).limits) == 1


def test_a_budget_without_a_cap_is_not_told_as_unlimited(gateway: Gateway) -> None:
    gateway.publish(budgets=(BUDGET,))

    with pytest.raises(PolicyUnavailable):
        gateway.admission.standing(gateway.caller())


def test_counters_that_are_not_complete_are_not_told(store: Store, organization: str) -> None:
    gateway = Gateway(store, organization)
    other = f"{organization}-unready"
    store.publish_policy(policy(organization=other))
    _, key = gateway.new_key(organization=other)

    with pytest.raises(PolicyUnavailable):
        gateway.admission.standing(gateway.caller(authorization=f"Bearer {key}"))


def test_a_store_that_is_away_tells_nothing(gateway: Gateway, redis_address: str) -> None:
    with LossyProxy(redis_address) as network:
        store = Store.from_url(network.url, timeout_ms=2000)
        admission = Admission(store, gateway.settings)
        admission.standing(gateway.caller())
        network.answers_to_lose = 1000
        with pytest.raises(PolicyUnavailable):
            admission.standing(gateway.caller())
        store.close()
