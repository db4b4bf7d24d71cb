"""The audit app; it keeps the triggers in step with the tables, and tells the database who acts."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from celery.signals import task_postrun, task_prerun
from django.apps import AppConfig
from django.db.backends.signals import connection_created
from django.db.models import Model
from django.db.models.signals import post_migrate

_running: dict[str, AbstractContextManager[None]] = {}


class AuditConfig(AppConfig):
    name = "control_plane.audit"

    def ready(self) -> None:
        from control_plane.audit.context import pass_on
        from control_plane.audit.triggers import install_triggers

        post_migrate.connect(install_triggers, sender=self, dispatch_uid="audit_triggers")
        connection_created.connect(pass_on, dispatch_uid="audit_context")
        task_prerun.connect(_begin_task, dispatch_uid="audit_task", weak=False)
        task_postrun.connect(_end_task, dispatch_uid="audit_task", weak=False)

    def kind_of(self, model: type[Model]) -> str | None:
        """What the log calls rows of a model; None if they are not recorded."""
        from control_plane.audit.governed import GOVERNED

        governed = GOVERNED.get(model._meta.label)
        return governed.kind if governed else None


def _begin_task(task_id: str, task: Any, **_: Any) -> None:
    from control_plane.audit.context import Acting, acting_as, host_name

    acting = Acting(actor=f"task:{task.name}", way="task", address=host_name(), request_id=task_id)
    _running[task_id] = acting_as(lambda: acting)
    _running[task_id].__enter__()


def _end_task(task_id: str, **_: Any) -> None:
    if running := _running.pop(task_id, None):
        running.__exit__(None, None, None)
