"""A call that is only observed: it counts as made, holds no money and no tokens, and tells what would refuse it."""

from __future__ import annotations

import pytest

from kong_plugins.llm.limits import Granted
from tests.llm.store.engine import LEASE_MS, Engine, budget, limit


def test_nothing_refuses_it_and_what_would_have_is_told(engine: Engine) -> None:
    requests, tokens, money = limit("requests", 1), limit("tokens", 5), budget(queue_ms=1000)
    engine.enforce(requests, tokens, money)
    engine.set_cap(money, 50)
    engine.reserve(observed=True)

    answer = engine.reserve(observed=True)

    assert isinstance(answer, Granted)
    assert answer.shadow_refusals == (
        "team limit of requests per minute",
        "team limit of tokens per minute",
        "team monthly budget",
    )


def test_it_holds_nothing_until_its_cost_is_known(engine: Engine) -> None:
    tokens, money = limit("tokens", 15), budget()
    engine.enforce(tokens, money)
    engine.set_cap(money, 1000)
    observed = engine.hold(observed=True)

    assert engine.state(money) == (0, 0)
    engine.hold(tokens=10)

    engine.post(observed, amount_nusd=70, tokens=7)
    assert engine.state(money) == (70, 100)


@pytest.mark.parametrize("late", [False, True])
def test_one_whose_end_is_never_told_has_no_amount_until_it_is(engine: Engine, late: bool) -> None:
    money, requests = budget(), budget("requests")
    engine.enforce(money, requests)
    engine.set_cap(money, 1000)
    engine.set_cap(requests, 1000)
    request_id = engine.hold(observed=True, cost_nusd=None, tokens=0)

    engine.pass_time(LEASE_MS + 1)
    engine.store.expire_due(engine.organization)
    if late:
        engine.post(request_id, amount_nusd=70, tokens=7)

    events = engine.usage()
    assert [(event.kind, event.amount_nusd) for event in events] == [("expired", None), ("adjusted", 70)][: 1 + late]
    assert (engine.state(money), engine.state(requests)) == ((70 * late, 0), (1, 0))
