"""Whatever is done in whatever order, Redis answers, counts and reports as the model does."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import msgspec
import pytest
import redis
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from kong_plugins.llm.limits import Reservation, Waiting
from kong_plugins.llm.marks import Ending
from kong_plugins.llm.release import Budget, Scope
from tests.llm.cast import principal
from tests.llm.store.engine import MINUTE_MS, Engine, budget, limit
from tests.llm.store.model import Answer, Model, Place

ORGANIZATION = Scope(kind="organization", subject=None)
EACH_KEY = Scope(kind="key", subject=None)
EACH_USER = Scope(kind="user", subject=None)
LIMITS = (
    limit("tokens", 300, queue_ms=10_000, tier_shares_percent={"experimental": 40}),
    limit("requests", 12, scope=EACH_KEY, window_ms=20_000, queue_ms=5000),
    limit("concurrency", 3, queue_ms=8000, tier_shares_percent={"experimental": 34, "normal": 67}),
    limit("tokens", 100, id="shadow", scope=ORGANIZATION, window_ms=3_600_000, shadow=True),
)
BUDGETS = (
    budget(
        "nusd", "month", id="all", scope=ORGANIZATION, tier_shares_percent={"experimental": 30}, degrade_at_percent=80
    ),
    budget("nusd", "day", queue_ms=20_000, tier_shares_percent={"normal": 70}),
    budget("tokens", "week"),
    budget("requests", "month", hard=False),
    budget("nusd", "total", shadow=True),
    budget("nusd", "week", id="each", scope=EACH_USER, each_cap=400, queue_ms=4000),
)
DAY_MS = 86_400_000
TEAMS = ("search", "support")
USERS = ("alice", "bob")
DEPLOYMENTS = ("main", "spare")
WHICH = st.sampled_from((0, 0, 0, 1))
CAPS = st.integers(0, 1500) | st.just(10**6)
DURATIONS_MS = st.integers(1, 2000) | st.integers(1, 2 * MINUTE_MS) | st.sampled_from((1000, 2999, 3000, DAY_MS))
# How many of those who wait ask, from the first on; below zero, from the last on.
ASKING = st.integers(-4, 4)
EXTENSIONS = st.lists(st.tuples(st.integers(1, 500), st.integers(1, 5000)), max_size=2)


class Calls(RuleBasedStateMachine):
    """Two organizations on one Redis; each has its model."""

    client: redis.Redis
    reservations: Bundle[tuple[int, Reservation]] = Bundle("reservations")

    @initialize(caps=st.lists(CAPS, min_size=5, max_size=5))
    def begin(self, caps: list[int]) -> None:
        self.engines = [Engine.anew(self.client) for _ in range(2)]
        self.models = [Model() for _ in range(2)]
        self.calls: dict[str, Reservation] = {}
        self.places: dict[str, tuple[int, int]] = {}
        self.caps = dict(zip((each.id for each in BUDGETS), caps, strict=False))
        for which in range(2):
            self.publish(which)
            self._open_periods(which)

    @rule(
        target=reservations,
        which=WHICH,
        times=st.integers(1, 4),
        team=st.sampled_from((*TEAMS, "search")),
        tier=st.sampled_from(("critical", "normal", "normal", "experimental")),
        user=st.sampled_from((None, *USERS)),
        cost_nusd=st.integers(0, 250) | st.none(),
        floor_nusd=st.integers(0, 250) | st.none(),
        tokens=st.integers(0, 120),
        lease_ms=st.sampled_from((1000, MINUTE_MS, 300_000)),
        may_wait=st.sampled_from((True, True, False)),
        is_last=st.sampled_from((True, True, True, False)),
        deployment=st.sampled_from((None, *DEPLOYMENTS)),
        others=st.sampled_from(((), ("main",), ("spare",), DEPLOYMENTS)),
        observed=st.sampled_from((False, False, True)),
    )
    def reserve(self, which: int, times: int, team: str, tier: str, user: str | None, **call: Any) -> MultipleResults:
        engine = self.engines[which]
        who = principal(
            organization=engine.organization,
            team=team,
            key=f"KEY{team}{tier}",
            tier=tier,
            user=user,
            speaks_for_users=True,
        )
        reservations = [engine.reservation(principal=who, **call) for _ in range(times)]
        for reservation in reservations:
            self._reserve(which, reservation)
        return multiple(*((which, reservation) for reservation in reservations))

    @rule(earlier=reservations, is_probe=st.booleans(), knows_its_place=st.booleans())
    def ask_again(self, earlier: tuple[int, Reservation], is_probe: bool, knows_its_place: bool) -> None:
        which, reservation = earlier
        again = self._in_force(which, reservation)
        if knows_its_place and reservation.request_id in self.places:
            again = self._with_its_place(which, again)
        self._reserve(which, msgspec.structs.replace(again, probe=is_probe))

    @rule(which=WHICH, asking=ASKING)
    def some_who_wait_ask_again(self, which: int, asking: int) -> None:
        self._ask_again(which, asking)

    @rule(earlier=reservations)
    def come_with_an_old_policy(self, earlier: tuple[int, Reservation]) -> None:
        which, reservation = earlier
        number = self.models[which].policy_number - 1
        self._reserve(which, msgspec.structs.replace(reservation, policy_number=number))

    @rule(earlier=reservations)
    def leave(self, earlier: tuple[int, Reservation]) -> None:
        which, reservation = earlier
        self.models[which].leave(reservation.request_id)
        self.engines[which].store.leave(reservation.organization, reservation.request_id)

    @rule(earlier=reservations, amount=st.integers(0, 400), tokens=st.integers(0, 200), asking=ASKING)
    def post(self, earlier: tuple[int, Reservation], amount: int, tokens: int, asking: int) -> None:
        which, reservation = earlier
        engine = self.engines[which]
        expected = self.models[which].post(reservation.request_id, "posted", amount, tokens, engine.now_ms)
        assert engine.post(reservation.request_id, amount_nusd=amount, tokens=tokens) == expected
        self._ask_again(which, asking)

    @rule(earlier=consumes(reservations))
    def void(self, earlier: tuple[int, Reservation]) -> None:
        which, reservation = earlier
        engine = self.engines[which]
        expected = self.models[which].post(reservation.request_id, "voided", 0, 0, engine.now_ms)
        assert engine.void(reservation.request_id) == expected

    @rule(
        earlier=reservations,
        deployment=st.sampled_from(DEPLOYMENTS),
        ending=st.sampled_from(("failed", "failed", "succeeded", "neither")),
        before_ms=st.sampled_from((0, 0, 1, 1500)),
        asked_ms=st.sampled_from((None, None, 0, 5000, 90_000)),
    )
    def end_at(
        self,
        earlier: tuple[int, Reservation],
        deployment: str,
        ending: Ending,
        before_ms: int,
        asked_ms: int | None,
    ) -> None:
        """A call that was admitted a while ago ends at a deployment."""
        which, reservation = earlier
        engine = self.engines[which]
        engine.pass_time(1)
        call: dict[str, Any] = {
            "request_id": reservation.request_id,
            "reserved_at_ms": engine.now_ms - before_ms,
            "asked_ms": asked_ms,
        }
        expected = self.models[which].marking.end(deployment, ending, now_ms=engine.now_ms, **call)
        assert engine.end_at(deployment, ending, **call) == expected

    @rule(target=reservations, which=WHICH, post=st.booleans())
    def end_what_comes_later(self, which: int, post: bool) -> tuple[int, Reservation]:
        engine, model = self.engines[which], self.models[which]
        reservation = engine.reservation()
        if post:
            expected = model.post(reservation.request_id, "posted", 100, 10, engine.now_ms)
            assert engine.post(reservation.request_id) == expected
        else:
            assert engine.void(reservation.request_id) == model.post(reservation.request_id, "voided", 0, 0, 0)
        return which, reservation

    @rule(which=WHICH, most=st.integers(1, 3))
    def expire(self, which: int, most: int) -> None:
        engine = self.engines[which]
        expected = self.models[which].expire(engine.now_ms, most)
        assert engine.store.expire_due(engine.organization, most=most) == expected

    @rule(which=WHICH, duration_ms=DURATIONS_MS, is_prepared=st.sampled_from((True, True, False)), asking=ASKING)
    def pass_time(self, which: int, duration_ms: int, is_prepared: bool, asking: int) -> None:
        self.engines[which].pass_time(duration_ms)
        if is_prepared:
            self._open_periods(which)
        self._ask_again(which, asking)

    @rule(which=WHICH, before_ms=st.integers(1, 25_000))
    def come_close_to_midnight(self, which: int, before_ms: int) -> None:
        """The next day's cap is there before the day is."""
        engine = self.engines[which]
        now_ms, midnight_ms = engine.now_ms, engine.period_end_ms(BUDGETS[1])
        engine.go_to(midnight_ms)
        self._open_periods(which)
        engine.go_to(max(now_ms, midnight_ms - before_ms))

    @rule(
        which=WHICH,
        each=st.sampled_from(BUDGETS),
        one=st.sampled_from((0, 1)),
        cap=CAPS,
        version=st.integers(1, 5),
        extensions=EXTENSIONS,
    )
    def set_cap(
        self, which: int, each: Budget, one: int, cap: int, version: int, extensions: list[tuple[int, int]]
    ) -> None:
        subjects = self._subjects(which, each)
        now_ms = self.engines[which].now_ms
        until = [(amount, now_ms + duration_ms) for amount, duration_ms in extensions]
        self._set_cap(which, each, subjects[one % len(subjects)], cap, version, until)

    @rule(which=WHICH)
    def publish(self, which: int) -> None:
        self.models[which].policy_number = self.engines[which].enforce(*LIMITS, *BUDGETS).number

    @invariant()
    def redis_counts_what_the_model_counts(self) -> None:
        for engine, model in self._pairs():
            counted, open_holds = engine.counted(model.accounts)
            assert counted == [account.counted() for account in model.accounts.values()]
            assert open_holds == sum(hold.state == "pending" for hold in model.holds.values())
            assert engine.marks.all(engine.organization) == model.marking.marks

    def teardown(self) -> None:
        for engine, model in self._pairs():
            assert [(event.id, event.kind, event.amount_nusd) for event in engine.usage()] == model.usage
            crossed: list[tuple[Place, int]] = [
                ((event.budget, event.subject, event.period), event.percent) for event in engine.thresholds()
            ]
            assert crossed == model.thresholds
            for place, account in model.accounts.items():
                state = engine.store.budget_state(engine.organization, *place)
                assert state is not None
                assert state.cap == account.cap_at(engine.now_ms, 400)

    def _pairs(self) -> list[tuple[Engine, Model]]:
        return list(zip(getattr(self, "engines", []), getattr(self, "models", []), strict=True))

    def _reserve(self, which: int, reservation: Reservation) -> None:
        engine = self.engines[which]
        # Two calls of one millisecond that wait in different lines have no order.
        engine.pass_time(1)
        model = deepcopy(self.models[which]) if reservation.probe else self.models[which]
        expected = model.reserve(reservation, engine.now_ms)
        answer: Answer = engine.store.reserve(reservation)
        if isinstance(answer, Waiting):
            if not reservation.probe:
                self.places.setdefault(reservation.request_id, (answer.place, engine.now_ms))
                self.calls[reservation.request_id] = reservation
            answer = msgspec.structs.replace(answer, place=0)
        assert answer == expected

    def _ask_again(self, which: int, asking: int) -> None:
        waiting = list(self.models[which].waiters)
        for request_id in waiting[:asking] if asking > 0 else waiting[: asking - 1 : -1] if asking < 0 else ():
            self._reserve(which, self._with_its_place(which, self._in_force(which, self.calls[request_id])))

    def _with_its_place(self, which: int, reservation: Reservation) -> Reservation:
        """As its gateway asks again, which knows the place and how long ago it was told."""
        place, asked_at_ms = self.places[reservation.request_id]
        waited_ms = self.engines[which].now_ms - asked_at_ms
        return msgspec.structs.replace(reservation, place=place, waited_ms=waited_ms)

    def _in_force(self, which: int, reservation: Reservation) -> Reservation:
        return msgspec.structs.replace(reservation, policy_number=self.models[which].policy_number)

    def _subjects(self, which: int, each: Budget) -> tuple[str, ...]:
        if each.scope == ORGANIZATION:
            return (self.engines[which].organization,)
        return USERS if each.scope == EACH_USER else TEAMS

    def _open_periods(self, which: int) -> None:
        """What the control plane does before a period begins."""
        engine, model = self.engines[which], self.models[which]
        for each in BUDGETS:
            for subject in self._subjects(which, each) if each.each_cap is None else ():
                if (each.id, subject, engine.period_name(each)) not in model.accounts:
                    self._set_cap(which, each, subject, self.caps[each.id], 1, [])

    def _set_cap(
        self, which: int, each: Budget, subject: str, cap: int, version: int, extensions: list[tuple[int, int]]
    ) -> None:
        engine = self.engines[which]
        place = (each.id, subject, engine.period_name(each))
        expected = self.models[which].set_cap(place, cap, version, extensions, engine.now_ms)
        assert engine.set_cap(each, cap, subject=subject, version=version, extensions=extensions) == expected


@pytest.mark.hypothesis
@pytest.mark.timeout(0)
@pytest.mark.parametrize("part", range(4))
def test_redis_does_what_the_model_does(client: redis.Redis, part: int) -> None:
    machine = type(f"CallsOnRedis{part}", (Calls,), {"client": client})
    run_state_machine_as_test(machine, settings=settings(stateful_step_count=40))
