"""Webhooks and what was delivered to them, in the admin."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from control_plane.administration import (
    ReadOnlyAdmin,
    SecretAdmin,
    SecretForm,
    confirmed_action,
    label_column,
    leave_dialog,
)
from control_plane.alerts import services
from control_plane.alerts.delivery import send_trial, try_again
from control_plane.alerts.models import Alert, Delivery, Webhook
from control_plane.amounts import amount_text
from control_plane.rights.person import person_of
from control_plane.rights.scope import changeable


class WebhookForm(SecretForm[Webhook]):
    fixed = ("organization",)

    class Meta:
        model = Webhook
        fields = ("organization", "url", "active")


@admin.register(Webhook)
class WebhookAdmin(SecretAdmin[Webhook]):
    form = WebhookForm
    secret_help = (
        "Your endpoint checks with it that a message is ours: x-bursar-signature is HMAC-SHA256 of timestamp.body."
    )
    list_display = ("url", "organization", "state", "created_at")
    list_filter = ("organization", "active")
    readonly_fields = ("created_at",)
    actions_detail = ("send_test",)
    add_fieldsets = ((None, {"fields": ("organization", "url", "active")}),)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Webhook]:
        return super().get_queryset(request).select_related("organization")

    @label_column("State", {"active": "success", "off": "warning"})
    def state(self, webhook: Webhook) -> str:
        return "active" if webhook.active else "off"

    def create(self, form: WebhookForm, user: Any) -> Webhook:
        webhook, form.secret = services.create_webhook(secret=None, **form.cleaned_data)
        return webhook

    def change(self, row: Webhook, form: WebhookForm, actor: str) -> Webhook:
        return services.change_webhook(row.pk, **form.changes)

    @confirmed_action(title="Send a test", description="A signed message of the type “test” is sent to the URL now.")
    def send_test(self, request: HttpRequest, _form: Any, object_id: str) -> HttpResponse:
        answer = send_trial(Webhook.objects.select_related("organization").get(pk=object_id))
        if answer.accepted:
            messages.success(request, f"The endpoint has answered {answer.http_status}.")
        else:
            messages.error(
                request, f"It did not arrive: {answer.error or f'the endpoint has answered {answer.http_status}'}."
            )
        return leave_dialog(self.page_of(object_id))


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin[Delivery]):
    list_display = ("crossing", "subject", "spent", "webhook", "state_label", "attempts", "answer", "next_attempt")
    list_fullwidth = True
    list_filter = ("state",)
    fields = readonly_fields = (
        *("crossing", "subject", "period", "spent", "webhook", "state_label", "attempts", "answer"),
        *("next_attempt", "delivered_at", "created_at"),
    )
    actions = ("retry",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Delivery]:
        return super().get_queryset(request).select_related("alert", "webhook")

    def has_retry_permission(self, request: HttpRequest) -> bool:
        user: Any = request.user
        allowed: bool = user.has_perm("alerts.change_delivery")
        return allowed

    @admin.display(description="Alert")
    def crossing(self, delivery: Delivery) -> str:
        return delivery.alert.title

    @admin.display(description="For")
    def subject(self, delivery: Delivery) -> str:
        return delivery.alert.subject

    @admin.display(description="Period")
    def period(self, delivery: Delivery) -> str:
        return delivery.alert.period

    @admin.display(description="Answer")
    def answer(self, delivery: Delivery) -> str:
        return str(delivery.http_status or delivery.error)

    @label_column("State", {"delivered": "success", "waiting": "info", "failed": "danger"})
    def state_label(self, delivery: Delivery) -> str:
        return delivery.state

    @admin.display(description="Spent of cap")
    def spent(self, delivery: Delivery) -> str:
        alert = delivery.alert
        if alert.kind == Alert.Kind.KEYS_DUE:
            return ""
        unit: Any = alert.unit
        return f"{amount_text(alert.spent, unit)} of {amount_text(alert.cap, unit)}"

    @admin.display(description="Next attempt")
    def next_attempt(self, delivery: Delivery) -> Any:
        return delivery.next_attempt_at if delivery.state == Delivery.State.WAITING else None

    @admin.action(description="Try again now", permissions=["retry"])
    def retry(self, request: HttpRequest, deliveries: QuerySet[Delivery]) -> None:
        number = try_again(changeable(deliveries, person_of(request.user)))
        messages.success(
            request, f"{number} to be tried again within seconds." if number else "All of these have arrived."
        )
