"""Webhooks and deliveries in the admin, as Alice sees them."""

from __future__ import annotations

from django.test import Client
from django.urls import reverse

from control_plane.alerts.models import Delivery, Webhook
from control_plane.alerts.signing import secret_of
from control_plane.ledger.consumer import Consumer
from tests.control_plane.alerts.receiver import Receiver
from tests.control_plane.cast import Api
from tests.control_plane.ledger.traffic import Traffic


def test_a_new_webhook_shows_its_secret_once(api: Api, pages: Client) -> None:
    fields = {"organization": str(api.organization.pk), "url": "https://hooks.example.com/bursar", "active": "on"}
    answer = pages.post("/admin/alerts/webhook/add/", fields)

    webhook = Webhook.objects.get()
    assert secret_of(webhook) in answer.content.decode()
    assert "no-store" in answer["cache-control"]
    assert secret_of(webhook) not in pages.get(f"/admin/alerts/webhook/{webhook.pk}/change/").content.decode()


def test_a_bad_url_is_said_to_be_bad_in_the_form(api: Api, pages: Client) -> None:
    fields = {"organization": str(api.organization.pk), "url": "ftp://hooks.example.com"}
    answer = pages.post("/admin/alerts/webhook/add/", fields)

    assert answer.status_code == 200
    assert "absolute" in answer.content.decode()
    assert not Webhook.objects.exists()


def test_the_test_button_sends_a_test_and_says_what_was_answered(
    webhook: str, receiver: Receiver, pages: Client
) -> None:
    button = reverse("admin:alerts_webhook_send_test", args=[webhook])
    pages.post(button, {"_form_submitted": "True"})
    receiver.status = 500
    pages.post(button, {"_form_submitted": "True"})

    page = pages.get(f"/admin/alerts/webhook/{webhook}/change/").content.decode()
    assert [received.content["type"] for received in receiver.received] == ["test", "test"]
    assert "The endpoint has answered 204." in page
    assert "It did not arrive: the endpoint has answered 500." in page


def test_a_failed_delivery_is_listed_and_can_be_tried_again(
    traffic: Traffic, webhook: str, consumer: Consumer, pages: Client
) -> None:
    traffic.call(amount_nusd=50_000)
    consumer.drain()
    Delivery.objects.update(state="failed", attempts=8, http_status=500)

    page = pages.get("/admin/alerts/delivery/").content.decode()
    chosen = {"action": "retry", "_selected_action": str(Delivery.objects.get().pk)}
    after = pages.post("/admin/alerts/delivery/", chosen, follow=True).content.decode()

    assert "50 % of Search, monthly" in page
    assert "$0.00005 of $0.0001" in page
    assert "1 to be tried again within seconds." in after
    assert Delivery.objects.get().state == "waiting"
    assert pages.get(f"/admin/alerts/delivery/{Delivery.objects.get().pk}/change/").status_code == 200
