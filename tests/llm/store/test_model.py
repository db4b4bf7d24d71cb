"""Whatever is done in whatever order, Redis answers, counts and reports as the model does."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from kong_plugins.llm.limits import Reservation
from kong_plugins.llm.release import Budget, Scope
from tests.llm.cast import principal
from tests.llm.store.engine import EACH_THRESHOLD, MINUTE_MS, Engine, budget, limit
from tests.llm.store.model import Model, Place

ORGANIZATION = Scope(kind="organization", subject=None)
EACH_KEY = Scope(kind="key", subject=None)
LIMITS = (
    limit("tokens", 300),
    limit("requests", 8, scope=EACH_KEY),
    limit("concurrency", 5),
    limit("tokens", 100, id="shadow", scope=ORGANIZATION, window_ms=3_600_000, shadow=True),
)
BUDGETS = (
    budget("nusd", "month", id="all", scope=ORGANIZATION),
    budget("nusd", "day"),
    budget("tokens", "week"),
    budget("requests", "month", hard=False),
    budget("nusd", "total", shadow=True),
)
DAY_MS = 86_400_000
TEAMS = ("search", "support")
WHICH = st.sampled_from((0, 1))


class Calls(RuleBasedStateMachine):
    """Two organizations on one Redis; each has its model."""

    client: redis.Redis
    reservations: Bundle[tuple[int, Reservation]] = Bundle("reservations")

    @initialize(caps=st.lists(st.integers(0, 1500), min_size=5, max_size=5))
    def begin(self, caps: list[int]) -> None:
        self.engines = [Engine.anew(self.client) for _ in range(2)]
        self.models = [Model() for _ in range(2)]
        for which, (engine, model) in enumerate(zip(self.engines, self.models, strict=True)):
            model.policy_number = engine.enforce(*LIMITS, *BUDGETS).number
            for each, cap in zip(BUDGETS, caps, strict=True):
                for subject in self._subjects(which, each):
                    self._set_cap(which, each, subject, cap, version=1)

    @rule(
        target=reservations,
        which=WHICH,
        team=st.sampled_from(TEAMS),
        cost=st.integers(0, 250) | st.none(),
        floor=st.integers(0, 250) | st.none(),
        tokens=st.integers(0, 120),
        lease_ms=st.sampled_from((1000, MINUTE_MS, 300_000)),
    )
    def reserve(self, which: int, team: str, cost: int | None, **call: Any) -> tuple[int, Reservation]:
        engine = self.engines[which]
        reservation = engine.reservation(
            principal=principal(organization=engine.organization, team=team, key=f"KEY{team}"),
            cost_nusd=cost,
            floor_nusd=call.pop("floor"),
            **call,
        )
        self._reserve(which, reservation)
        return which, reservation

    @rule(earlier=reservations)
    def repeat(self, earlier: tuple[int, Reservation]) -> None:
        self._reserve(*earlier)

    @rule(earlier=reservations, amount=st.integers(0, 400), tokens=st.integers(0, 200))
    def post(self, earlier: tuple[int, Reservation], amount: int, tokens: int) -> None:
        which, reservation = earlier
        expected = self.models[which].post(reservation.request_id, "posted", amount, tokens)
        assert self.engines[which].post(reservation.request_id, amount_nusd=amount, tokens=tokens) == expected

    @rule(earlier=consumes(reservations))
    def void(self, earlier: tuple[int, Reservation]) -> None:
        which, reservation = earlier
        expected = self.models[which].post(reservation.request_id, "voided", 0, 0)
        assert self.engines[which].void(reservation.request_id) == expected

    @rule(target=reservations, which=WHICH, post=st.booleans())
    def end_what_comes_later(self, which: int, post: bool) -> tuple[int, Reservation]:
        engine, model = self.engines[which], self.models[which]
        reservation = engine.reservation()
        if post:
            assert engine.post(reservation.request_id) == model.post(reservation.request_id, "posted", 100, 10)
        else:
            assert engine.void(reservation.request_id) == model.post(reservation.request_id, "voided", 0, 0)
        return which, reservation

    @rule(which=WHICH, most=st.integers(1, 3))
    def expire(self, which: int, most: int) -> None:
        engine = self.engines[which]
        expected = self.models[which].expire(engine.now_ms, most)
        assert engine.store.expire_due(engine.organization, most=most) == expected

    @rule(which=WHICH, duration_ms=st.integers(1, 2000) | st.integers(1, 2 * MINUTE_MS) | st.sampled_from((DAY_MS,)))
    def pass_time(self, which: int, duration_ms: int) -> None:
        self.engines[which].pass_time(duration_ms)

    @rule(
        which=WHICH,
        each=st.sampled_from(BUDGETS),
        team=st.sampled_from((0, 1)),
        cap=st.integers(0, 2000),
        version=st.integers(1, 5),
    )
    def set_cap(self, which: int, each: Budget, team: int, cap: int, version: int) -> None:
        subjects = self._subjects(which, each)
        self._set_cap(which, each, subjects[team % len(subjects)], cap, version)

    @rule(which=WHICH)
    def publish(self, which: int) -> None:
        engine = self.engines[which]
        self.models[which].policy_number = engine.enforce(*LIMITS, *BUDGETS).number

    @invariant()
    def redis_counts_what_the_model_counts(self) -> None:
        for engine, model in self._pairs():
            counted, open_holds = engine.counted(model.accounts)
            assert counted == [(account.cap, account.spent, account.held) for account in model.accounts.values()]
            assert open_holds == sum(hold.state == "pending" for hold in model.holds.values())

    def teardown(self) -> None:
        for engine, model in self._pairs():
            assert [(event.id, event.kind, event.amount_nusd) for event in engine.usage()] == model.usage
            crossed: list[tuple[Place, int]] = [
                ((event.budget, event.subject, event.period), event.percent) for event in engine.thresholds()
            ]
            assert crossed == model.thresholds

    def _pairs(self) -> list[tuple[Engine, Model]]:
        return list(zip(getattr(self, "engines", []), getattr(self, "models", []), strict=True))

    def _reserve(self, which: int, reservation: Reservation) -> None:
        engine = self.engines[which]
        expected = self.models[which].reserve(reservation, engine.now_ms, EACH_THRESHOLD)
        assert engine.store.reserve(reservation) == expected

    def _subjects(self, which: int, each: Budget) -> tuple[str, ...]:
        return (self.engines[which].organization,) if each.scope == ORGANIZATION else TEAMS

    def _set_cap(self, which: int, each: Budget, subject: str, cap: int, version: int) -> None:
        engine = self.engines[which]
        place = (each.id, subject, engine.period_name(each))
        expected = self.models[which].set_cap(place, cap, version, EACH_THRESHOLD)
        assert engine.set_cap(each, cap, subject=subject, version=version) == expected


@pytest.mark.hypothesis
@pytest.mark.timeout(0)
@pytest.mark.parametrize("part", range(4))
def test_redis_does_what_the_model_does(client: redis.Redis, part: int) -> None:
    machine = type(f"CallsOnRedis{part}", (Calls,), {"client": client})
    run_state_machine_as_test(machine, settings=settings(stateful_step_count=40))
