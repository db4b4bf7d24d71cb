"""The audit log: who changed what of what governs, and from what to what; each entry is chained to the one before it.

Rows are written by the database itself, by a trigger on every governed table. Organizations, teams and objects are
named by their text ids, since the log outlives their rows. Absent text is "".
"""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import Q


class AuditEntry(models.Model):
    """One row of a governed table that was created, changed or deleted, or a table that was emptied.

    `before` and `after` hold the columns that differ, as JSON has them; of a secret they say only that there is one.
    `unit` is what amounts in them are counted in. `way` is how the change came, `actor` who made it: a user's name,
    `command:` or `task:` with a name, or the database's role for what came past the control plane; `database_role` is
    always the role of the connection.

    An entry waits for some seconds for its place in the chain of its organization: `sequence`, and `hash`, which is
    over its content and the `previous_hash` (`control_plane.audit.chain`). Changes that belong to no organization, such
    as those of people, have a chain of their own. Triggers refuse any other UPDATE, and DELETE and TRUNCATE.
    """

    class Action(models.TextChoices):
        CREATED = "created"
        CHANGED = "changed"
        DELETED = "deleted"
        EMPTIED = "emptied"

    class Way(models.TextChoices):
        ADMIN = "admin"
        API = "api", "API"
        WEB = "web", "Other page"
        COMMAND = "command"
        TASK = "task"
        DATABASE = "database"

    recorded_at = models.DateTimeField()
    organization = models.TextField()
    team = models.TextField()
    kind = models.TextField()
    object_id = models.TextField()
    object_name = models.TextField()
    unit = models.TextField()
    action = models.TextField(choices=Action.choices)
    before: models.JSONField[dict[str, Any], dict[str, Any]] = models.JSONField()
    after: models.JSONField[dict[str, Any], dict[str, Any]] = models.JSONField()
    actor = models.TextField()
    actor_id = models.TextField()
    token = models.TextField()
    way = models.TextField(choices=Way.choices)
    address = models.TextField()
    request_id = models.TextField()
    reason = models.TextField()
    database_role = models.TextField()
    sequence = models.BigIntegerField(null=True)
    previous_hash = models.TextField(db_default="")
    hash = models.TextField(db_default="")

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "audit entries"
        constraints = [
            models.UniqueConstraint(fields=["organization", "sequence"], name="audit_place_once"),
            models.CheckConstraint(condition=Q(sequence=None, hash="") | Q(sequence__gte=1), name="audit_place"),
        ]
        indexes = [
            models.Index(fields=["id"], name="audit_waiting", condition=Q(sequence=None)),
            models.Index(fields=["organization", "-id"], name="audit_newest"),
            models.Index(fields=["organization", "team", "-id"], name="audit_team"),
            models.Index(fields=["kind", "object_id", "-id"], name="audit_object"),
            models.Index(fields=["organization", "actor", "-id"], name="audit_actor"),
            models.Index(fields=["organization", "recorded_at"], name="audit_time"),
        ]

    def __str__(self) -> str:
        return f"{self.actor} {self.action} {self.kind} {self.object_name}"
