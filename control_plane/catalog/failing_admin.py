"""Which deployments are failing, on the pages of deployments in the admin."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from control_plane.administration import ServiceAdmin, confirmed_action, label_column, leave_dialog
from control_plane.catalog.failing import FailingDeployment, clear_mark, failing_deployments
from control_plane.catalog.models import Deployment
from kong_plugins.llm.errors import StoreUnavailable

if TYPE_CHECKING:
    from django.contrib.admin.views.main import ChangeList

_UNKNOWN = "Redis cannot be reached, so which deployments are failing is not known right now."


class FailingDeploymentAdmin(ServiceAdmin[Deployment]):
    """Shows a deployment's mark, and takes it away."""

    actions_detail = ("clear_mark",)

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """Reads the marks of the whole page at once."""
        changelist = super().get_changelist_instance(request)
        try:
            failing = {each.deployment: each for each in failing_deployments(changelist.result_list)}
        except StoreUnavailable:
            messages.warning(request, _UNKNOWN)
            return changelist
        for deployment in changelist.result_list:
            deployment.__dict__["failing"] = failing.get(deployment.pk)
        return changelist

    @label_column("Calls", {"failing": "danger", "being tried": "warning"})
    def calls(self, deployment: Deployment) -> str | None:
        failing: FailingDeployment | None = deployment.__dict__.get("failing")
        if failing is None:
            return None
        return "failing" if timezone.now() < failing.until else "being tried"

    @admin.display(description="Failing")
    def failing_now(self, deployment: Deployment) -> str | None:
        if deployment.pk is None:
            return None
        try:
            found = failing_deployments([deployment])
        except StoreUnavailable:
            return _UNKNOWN
        return _sentence(found[0]) if found else "No. Calls go there."

    @confirmed_action(
        title="Clear the mark", description="Calls go there again; should it fail one, it is marked anew."
    )
    def clear_mark(self, request: HttpRequest, _form: Any, object_id: str) -> HttpResponse:
        user: Any = request.user
        deployment = self.get_queryset(request).get(pk=object_id)
        try:
            if clear_mark(deployment, actor=user.get_username()):
                messages.success(request, f"Calls go to {deployment} again.")
            else:
                messages.info(request, f"{deployment} is not marked.")
        except StoreUnavailable:
            messages.error(request, "Redis cannot be reached. Try again.")
        return leave_dialog(self.page_of(object_id))


def _sentence(failing: FailingDeployment) -> str:
    times = "once" if failing.failures == 1 else f"{failing.failures} times in a row"
    return (
        f"It has failed {times} since {_utc(failing.since)}, the last time with {failing.status}. Calls go elsewhere,"
        f" if they can, until {_utc(failing.until)}, and then until one of them has tried it and succeeded."
    )


def _utc(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
