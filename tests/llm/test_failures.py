"""Failing providers: who failed others is passed over, and what they ask for in the meantime is heard."""

from __future__ import annotations

import logging
from typing import Any, cast

import msgspec
import pytest

from kong_plugins.llm.failures import Failure, passed_over_ms
from kong_plugins.llm.grants import Grant
from kong_plugins.llm.marks import Mark, Marks
from kong_plugins.llm.metering import note, settle
from kong_plugins.llm.release import Limit, Scope
from kong_plugins.llm.store import Store
from tests.llm.gateway import Gateway, body, completion, finished
from tests.llm.test_offers import (
    DEGRADING,
    MAIN_RPM,
    admit_large,
    large_and_small,
    model,
    publish,
    two_deployments,
    use,
)
from tests.llm.waiters import grant_of, waiters_of

# Sunday, 22 March 2026, 10:00:00 GMT.
NOW_MS = 1_774_173_600_000
BUSY = Failure(kind="busy", retry_after="60")


def marks_of(gateway: Gateway) -> dict[str, Mark]:
    return Marks(gateway.store).all(gateway.organization)


def fail(gateway: Gateway, grant: Grant, **changes: Any) -> bool:
    ended: dict[str, Any] = {"status": 503, "failure": BUSY} | changes
    return note(Marks(gateway.store), finished(grant, **ended))


def fail_at(gateway: Gateway, deployment: str, *, for_ms: int = 60_000) -> None:
    """Have a deployment be failing."""
    Marks(gateway.store).note(
        gateway.organization,
        deployment,
        "failed",
        request_id="before",
        reserved_at_ms=0,
        status=503,
        passed_over_ms=for_ms,
    )


# What a call's end says of its deployment.


@pytest.mark.parametrize(
    ("headers", "lasts_ms"),
    [
        ({}, None),
        ({"retry_after": "20"}, 20_000),
        ({"retry_after": "0.5"}, 1000),
        ({"retry_after": "0"}, 1000),
        ({"retry_after": "-7"}, 1000),
        ({"retry_after": "86400"}, 600_000),
        ({"retry_after": "20", "retry_after_ms": "1500"}, 1500),
        ({"retry_after_ms": "1500.4"}, 1500),
        ({"retry_after_ms": "soon", "retry_after": "2"}, 2000),
        ({"retry_after": "Sun, 22 Mar 2026 10:00:30 GMT"}, 30_000),
        ({"retry_after": "Sun, 22 Mar 2026 09:00:00 GMT"}, 1000),
        ({"retry_after": "nan"}, None),
        ({"retry_after": "1e999"}, None),
        ({"retry_after": "Sun, 99 Mar 2026"}, None),
    ],
)
def test_a_provider_says_for_how_long_it_wants_no_calls_within_reason(
    headers: dict[str, str], lasts_ms: int | None
) -> None:
    for kind in ("busy", "unreachable", "silent"):
        assert passed_over_ms(Failure(kind=kind, **headers), status=503, now_ms=NOW_MS) == lasts_ms


@pytest.mark.parametrize("status", [401, 402])
def test_a_credential_that_is_refused_is_not_tried_again_for_minutes(status: int) -> None:
    for retry_after, lasts_ms in [("", 300_000), ("1", 300_000), ("400", 400_000)]:
        refused = Failure(kind="refused", retry_after=retry_after)
        assert passed_over_ms(refused, status=status, now_ms=NOW_MS) == lasts_ms


def test_one_prompt_that_a_provider_forbids_keeps_nobody_away_for_minutes(gateway: Gateway) -> None:
    assert fail(gateway, gateway.admit(), failure=Failure(kind="refused"), status=403)

    mark = marks_of(gateway)["mini-at-openai"]
    assert (mark.status, mark.until_ms - mark.marked_at_ms) == (403, 1000)
    assert passed_over_ms(Failure(kind="refused", retry_after="20"), status=403, now_ms=NOW_MS) == 20_000


def test_a_failure_marks_the_deployment_and_a_later_success_takes_the_mark_away(gateway: Gateway) -> None:
    assert fail(gateway, gateway.admit(), failure=Failure(kind="busy", retry_after="20"), status=429)

    mark = marks_of(gateway)["mini-at-openai"]
    assert (mark.failures, mark.status, mark.until_ms - mark.marked_at_ms) == (1, 429, 20_000)
    later = gateway.admit()
    assert later.meter.is_marked
    assert note(Marks(gateway.store), finished(later))
    assert marks_of(gateway) == {}


@pytest.mark.parametrize(
    "changes",
    [
        {"status": 400},
        {"status": 404},
        {"status": 499},
        {"source": "exit", "status": 503},
        {"source": "error", "status": 500},
    ],
)
def test_what_the_deployment_is_not_to_blame_for_is_neither(gateway: Gateway, changes: dict[str, Any]) -> None:
    assert not note(Marks(gateway.store), finished(gateway.admit(), **changes))
    assert marks_of(gateway) == {}

    fail_at(gateway, "mini-at-openai")
    assert not note(Marks(gateway.store), finished(gateway.admit(), **changes))
    assert marks_of(gateway)["mini-at-openai"].failures == 1


def test_a_success_at_a_deployment_that_is_not_marked_asks_nothing_of_redis(gateway: Gateway) -> None:
    away = Store.from_url("redis://127.0.0.1:1", timeout_ms=50)

    assert not note(Marks(away), finished(gateway.admit()))

    away.close()


def test_a_failure_that_redis_cannot_be_told_of_hurts_nobody(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    away = Store.from_url("redis://127.0.0.1:1", timeout_ms=50)

    with caplog.at_level(logging.WARNING):
        assert not note(Marks(away), finished(gateway.admit(), failure=BUSY))

    assert "mini-at-openai has answered is not noted" in caplog.text
    away.close()


def test_a_call_without_a_deployment_marks_none(gateway: Gateway) -> None:
    meter = gateway.admit().meter
    facts = msgspec.structs.replace(meter.facts, deployment=None)
    call = finished(gateway.admit(), meter=msgspec.structs.replace(meter, facts=facts), failure=BUSY)

    assert not note(Marks(gateway.store), call)


# Who serves instead.


def test_the_retry_of_a_call_that_failed_is_served_elsewhere(gateway: Gateway) -> None:
    two_deployments(gateway)
    first = gateway.admit()
    assert (first.meter.facts.deployment, first.has_other) == ("at-main", True)
    assert first.table()["has_other"] is True

    fail(gateway, first)
    retry = gateway.admit()

    assert retry.meter.facts.candidates == ("at-main: failing", "at-spare")
    assert retry.meter.facts.request_id != first.meter.facts.request_id
    assert not retry.has_other, "nobody is left who could be tried"


def test_where_all_are_failing_the_first_goes_on_and_no_retry_is_promised(gateway: Gateway) -> None:
    two_deployments(gateway)
    fail_at(gateway, "at-main")
    fail_at(gateway, "at-spare")

    grant = gateway.admit()

    assert (grant.meter.facts.candidates, grant.has_other) == (("at-main",), False)


def test_the_only_deployment_serves_however_often_it_fails(gateway: Gateway) -> None:
    for _ in range(3):
        fail(gateway, gateway.admit())

    grant = gateway.admit()

    assert (grant.meter.facts.candidates, grant.has_other) == (("mini-at-openai",), False)


def test_a_failing_deployment_serves_what_fits_nowhere_else(gateway: Gateway) -> None:
    spare_rpm = msgspec.structs.replace(
        MAIN_RPM, id="spare", scope=Scope(kind="team", subject=None, provider="spare"), amount=1
    )
    two_deployments(gateway, spare_rpm)
    fail_at(gateway, "at-main")
    assert gateway.admit().meter.facts.deployment == "at-spare"

    grant = gateway.admit()

    assert grant.meter.facts.candidates == (
        "at-main: failing",
        "at-spare: team (provider spare) limit of requests per minute",
        "at-main",
    )
    assert not grant.has_other
    assert gateway.events() == [], "nothing was refused"


def test_several_that_are_failing_are_passed_over_for_the_one_that_is_not(gateway: Gateway) -> None:
    publish(gateway, models=(model("mini", "at-one", "at-two", "at-three"),))
    fail_at(gateway, "at-one")
    fail_at(gateway, "at-two")

    assert gateway.admit().meter.facts.candidates == ("at-one: failing", "at-two: failing", "at-three")


def test_a_lesser_model_serves_while_the_one_that_was_asked_for_is_failing(gateway: Gateway) -> None:
    large_and_small(gateway)
    fail_at(gateway, "at-large")

    facts = admit_large(gateway).meter.facts

    assert (facts.deployment, facts.degraded_from) == ("at-small", "large")
    assert facts.candidates == ("at-large: failing", "at-small")
    assert admit_large(gateway, x_bursar_degrade="0").meter.facts.deployment == "at-large"


def test_a_budget_that_degrades_is_not_got_round_by_a_lesser_model_that_is_failing(gateway: Gateway) -> None:
    large_and_small(gateway, budgets=(DEGRADING,))
    use(gateway, 80)
    fail_at(gateway, "at-small")

    assert admit_large(gateway).meter.facts.candidates == ("at-large: team monthly budget", "at-small")


def test_a_call_that_waited_goes_where_it_can_be_served_by_then(gateway: Gateway) -> None:
    slots = Limit(
        id="slots",
        scope=Scope(kind="team", subject=None),
        unit="concurrency",
        amount=1,
        window_ms=60_000,
        queue_ms=60_000,
    )
    two_deployments(gateway, slots)
    running = gateway.admit()
    with waiters_of(gateway) as waiters:
        waiting = waiters.begin()
        fail(gateway, running)

        gateway.store.void(gateway.organization, running.meter.facts.request_id, b"{}")

        assert grant_of(waiting).meter.facts.candidates == ("at-main: failing", "at-spare")


def test_what_is_only_asked_about_is_told_where_it_would_go(gateway: Gateway) -> None:
    two_deployments(gateway)
    fail_at(gateway, "at-main")

    grant = gateway.admission.admit(gateway.caller(), body(), "openai_chat", probe=True)

    assert grant.meter.facts.candidates == ("at-main: failing", "at-spare")


def test_each_attempt_has_an_id_and_an_event_of_its_own_and_one_is_paid_for(gateway: Gateway) -> None:
    two_deployments(gateway)
    first = gateway.admit()
    settle(cast(Any, gateway.store), finished(first, status=503, failure=BUSY))
    fail(gateway, first)
    retry = gateway.admit()
    settle(cast(Any, gateway.store), finished(retry, completion()))

    failed, answered = gateway.events()

    assert (failed.kind, failed.deployment, failed.http_status, failed.amount_nusd) == ("voided", "at-main", 503, 0)
    assert (answered.kind, answered.deployment, answered.candidates) == (
        "posted",
        "at-spare",
        ("at-main: failing", "at-spare"),
    )
    assert failed.request_id != answered.request_id
