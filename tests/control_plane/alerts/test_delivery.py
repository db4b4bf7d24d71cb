"""A crossed threshold becomes one alert, and one signed message to each webhook."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

import pytest
import redis
from django.utils import timezone

from control_plane.alerts.delivery import PAUSES_SECONDS, attempt, due_delivery_ids, send_trial, try_again
from control_plane.alerts.models import Alert, Delivery, Webhook
from control_plane.alerts.services import raise_alerts
from control_plane.alerts.tasks import deliver_alerts
from control_plane.celery import app
from control_plane.ledger.consumer import Consumer
from control_plane.ledger.ingest import record
from kong_plugins.llm.events import ThresholdEvent
from tests.control_plane.alerts.conftest import SECRET
from tests.control_plane.alerts.receiver import Receiver
from tests.control_plane.cast import Api, all_at_once
from tests.control_plane.ledger.traffic import Traffic


def attempt_all_due() -> None:
    """What the periodic task does, without a worker."""
    for delivery_id in due_delivery_ids(most=100):
        attempt(delivery_id)


def delivery_of(webhook: str) -> Delivery:
    return Delivery.objects.get(webhook_id=UUID(webhook))


def make_due(webhook: str) -> None:
    Delivery.objects.filter(webhook_id=UUID(webhook)).update(next_attempt_at=timezone.now())


def test_half_of_a_budget_sends_one_signed_message(
    api: Api, traffic: Traffic, webhook: str, receiver: Receiver, consumer: Consumer
) -> None:
    traffic.call(amount_nusd=49_999)
    traffic.call(amount_nusd=1)
    traffic.call(amount_nusd=1)
    consumer.drain()

    attempt_all_due()
    attempt_all_due()

    [received] = receiver.received
    assert received.is_signed_with(SECRET)
    assert received.headers["content-type"] == "application/json"
    assert received.headers["x-bursar-event-id"] == Alert.objects.get().event_id
    content = received.content
    assert abs(datetime.fromisoformat(content.pop("crossed_at")) - timezone.now()) < timedelta(minutes=1)
    period, budget = content.pop("period"), content.pop("budget")
    assert period.startswith("month-")
    assert api.get(f"budgets/{budget}")["name"] == "Search, monthly"
    assert content == {
        "type": "budget.threshold_crossed",
        "organization": api.organization.slug,
        "budget_name": "Search, monthly",
        "subject": "search",
        "team": "search",
        "percent": 50,
        "cap_nusd": 100_000,
        "spent_nusd": 50_000,
    }
    delivery = delivery_of(webhook)
    assert (delivery.state, delivery.attempts, delivery.http_status) == ("delivered", 1, 204)


@pytest.fixture
def worker() -> Iterator[None]:
    """Tasks are done at once, in this process."""
    app.conf.task_always_eager = True
    yield
    app.conf.task_always_eager = False


def test_a_message_is_sent_as_soon_as_its_alert_is_committed(
    worker: None, traffic: Traffic, webhook: str, receiver: Receiver, consumer: Consumer
) -> None:
    traffic.call(amount_nusd=50_000)
    consumer.drain()

    assert len(receiver.received) == 1


def test_what_was_not_sent_then_is_found_by_the_periodic_task(
    worker: None, traffic: Traffic, webhook: str, receiver: Receiver, consumer: Consumer
) -> None:
    receiver.status = 503
    traffic.call(amount_nusd=50_000)
    consumer.drain()
    receiver.status = 200
    make_due(webhook)

    deliver_alerts()

    assert delivery_of(webhook).state == "delivered"


def test_each_percentage_is_an_alert_and_a_replay_is_none(
    traffic: Traffic, webhook: str, receiver: Receiver, consumer: Consumer, redis_address: str
) -> None:
    traffic.call(amount_nusd=95_000)
    consumer.drain()
    attempt_all_due()
    with redis.Redis.from_url(redis_address) as client:
        client.xgroup_setid(f"bursar:{{{traffic.slug}}}:events", "ledger", "0")

    consumer.drain()
    attempt_all_due()

    assert sorted(received.content["percent"] for received in receiver.received) == [50, 75, 90]


def test_consumers_that_hear_of_a_crossing_at_once_raise_one_alert(
    traffic: Traffic, webhook: str, consumer: Consumer
) -> None:
    traffic.call(amount_nusd=50_000)
    entries = traffic.store.read_events(traffic.slug, "one of them", most=10, block_ms=0)
    all_at_once([partial(record, traffic.slug, entries)] * 4)

    assert Alert.objects.count() == Delivery.objects.count() == 1


def test_a_refused_message_is_tried_again_ever_later_and_given_up(
    traffic: Traffic, webhook: str, receiver: Receiver, consumer: Consumer
) -> None:
    receiver.status = 500
    traffic.call(amount_nusd=50_000)
    consumer.drain()

    for pause_seconds in PAUSES_SECONDS:
        attempt_all_due()
        waiting = delivery_of(webhook)
        assert (waiting.state, waiting.http_status) == ("waiting", 500)
        due_in = waiting.next_attempt_at - timezone.now()
        assert timedelta(seconds=pause_seconds - 5) < due_in <= timedelta(seconds=pause_seconds)
        assert due_delivery_ids(most=100) == []
        make_due(webhook)
    attempt_all_due()

    assert delivery_of(webhook).state == "failed"
    bodies = {received.body for received in receiver.received}
    event_ids = {received.headers["x-bursar-event-id"] for received in receiver.received}
    assert len(receiver.received) == len(PAUSES_SECONDS) + 1
    assert (len(bodies), len(event_ids)) == (1, 1)


def test_a_failed_delivery_can_be_tried_again(
    traffic: Traffic, webhook: str, receiver: Receiver, consumer: Consumer
) -> None:
    traffic.call(amount_nusd=50_000)
    consumer.drain()
    Delivery.objects.update(state="failed", attempts=8)

    assert try_again(Delivery.objects.all()) == 1
    attempt_all_due()

    assert delivery_of(webhook).state == "delivered"
    assert try_again(Delivery.objects.all()) == 0


def test_two_workers_send_a_delivery_once(
    traffic: Traffic, webhook: str, receiver: Receiver, consumer: Consumer
) -> None:
    traffic.call(amount_nusd=50_000)
    consumer.drain()
    [delivery_id] = due_delivery_ids(most=10)

    all_at_once([partial(attempt, delivery_id)] * 4)

    assert len(receiver.received) == 1


def test_a_worker_that_dies_with_a_delivery_leaves_it_to_become_due_again(
    traffic: Traffic, webhook: str, receiver: Receiver, consumer: Consumer
) -> None:
    traffic.call(amount_nusd=50_000)
    consumer.drain()
    # The claim of a worker that then died, a minute ago.
    Delivery.objects.update(attempts=1, next_attempt_at=timezone.now())

    attempt_all_due()

    assert (delivery_of(webhook).state, delivery_of(webhook).attempts) == ("delivered", 2)


def test_a_redirect_is_not_followed(traffic: Traffic, webhook: str, receiver: Receiver, consumer: Consumer) -> None:
    receiver.status, receiver.location = 307, f"{receiver.url}/elsewhere"
    traffic.call(amount_nusd=50_000)
    consumer.drain()

    attempt_all_due()

    assert len(receiver.received) == 1
    assert delivery_of(webhook).http_status == 307
    assert delivery_of(webhook).state == "waiting"


def test_an_endpoint_that_is_gone_is_noted_in_a_word(
    traffic: Traffic, webhook: str, receiver: Receiver, consumer: Consumer
) -> None:
    Webhook.objects.update(url="http://127.0.0.1:1/hook")
    traffic.call(amount_nusd=50_000)
    consumer.drain()

    attempt_all_due()

    delivery = delivery_of(webhook)
    assert (delivery.state, delivery.http_status, delivery.error) == ("waiting", None, "ConnectError")


def test_a_webhook_that_is_switched_off_is_sent_nothing(
    api: Api, traffic: Traffic, webhook: str, receiver: Receiver, consumer: Consumer
) -> None:
    traffic.call(amount_nusd=50_000)
    consumer.drain()
    api.change(f"webhooks/{webhook}", active=False)

    attempt_all_due()
    traffic.call(amount_nusd=30_000)
    consumer.drain()

    assert receiver.received == []
    assert (delivery_of(webhook).state, delivery_of(webhook).error) == ("failed", "switched off")
    assert Alert.objects.count() == 2


def test_a_secret_that_cannot_be_opened_fails_the_attempt_and_not_the_worker(
    traffic: Traffic, webhook: str, receiver: Receiver, consumer: Consumer
) -> None:
    traffic.call(amount_nusd=50_000)
    consumer.drain()
    Webhook.objects.update(sealed_secret="v1:AAAA")

    attempt_all_due()

    assert receiver.received == []
    assert delivery_of(webhook).error == "the secret cannot be opened"


def test_the_alert_of_a_key_names_its_team(
    api: Api, traffic: Traffic, webhook: str, receiver: Receiver, consumer: Consumer
) -> None:
    key_id = api.create("keys", team="search", name="search-prod")["id"]
    api.budget(name="Each key", scope="key", subject=None, unit="requests", amount=2)
    traffic.call(key=key_id, amount_nusd=1)
    consumer.drain()

    attempt_all_due()

    [received] = receiver.received
    content = received.content
    assert (content["subject"], content["team"], content["percent"]) == (key_id, "search", 50)
    assert (content["cap_requests"], content["spent_requests"]) == (2, 1)


@pytest.mark.parametrize("budget", ["999999", "no number"])
def test_a_crossing_of_an_unknown_budget_is_logged_and_holds_nothing_up(
    traffic: Traffic, webhook: str, caplog: pytest.LogCaptureFixture, budget: str
) -> None:
    crossing = ThresholdEvent(
        id="1",
        organization=traffic.slug,
        budget=budget,
        subject="search",
        period="month-2026-11-01",
        percent=50,
        cap=2,
        spent=1,
        crossed_at_ms=0,
    )
    with caplog.at_level(logging.WARNING):
        raise_alerts(crossings=[crossing])

    assert f"has no budget {budget}" in caplog.text
    assert not Alert.objects.exists()


def test_a_trial_says_that_it_is_one(api: Api, webhook: str, receiver: Receiver) -> None:
    answer = send_trial(Webhook.objects.select_related("organization").get(pk=webhook))

    [received] = receiver.received
    assert answer.accepted
    assert received.is_signed_with(SECRET)
    assert (received.content["type"], received.content["organization"]) == ("test", api.organization.slug)
