"""Tokens for the REST API, of which only a digest is kept, and the answers to requests that may be sent again."""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils import timezone

from control_plane.api.callers import SCOPES, SCOPES_IN_WORDS
from control_plane.names import validate_text


class ApiToken(models.Model):
    """What a program calls the REST API with: it acts as `user`, in one organization, and never may more than they.

    After a rotation the secret before it works until `previous_until`. `prefix` is the part of the token by which it
    is recognised; "" for one that somebody else has made up.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_tokens")
    organization = models.ForeignKey("teams.Organization", on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=100, validators=[validate_text])
    prefix = models.CharField(max_length=16, editable=False, default="")
    digest = models.CharField(max_length=64, unique=True, editable=False)
    previous_digest = models.CharField(max_length=64, unique=True, null=True, editable=False)  # noqa: DJ001 - unique
    previous_until = models.DateTimeField(null=True, editable=False)
    scopes = ArrayField(
        models.CharField(max_length=16, choices=[(name, f"{name}: {SCOPES_IN_WORDS[name]}") for name in SCOPES]),
        null=True,
        blank=True,
        help_text="What of the user's rights the token is for; none given means all.",
    )
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, editable=False, help_text="To the hour.")
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["organization", "name"], name="api_token_name_unique"),
            models.CheckConstraint(
                condition=Q(scopes=None) | Q(scopes__contained_by=list(SCOPES)) & ~Q(scopes__len=0),
                name="api_token_scopes",
                violation_error_message="Name at least one scope, or leave scopes out for all.",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def state(self) -> str:
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= timezone.now() else "active"


class StoredAnswer(models.Model):
    """The answer to a request with an Idempotency-Key, for when it is sent again; `status` is NULL until it is known.

    The body is sealed: it may hold a secret that is shown once.
    """

    caller = models.CharField(max_length=64)
    key = models.CharField(max_length=255)
    request_digest = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(null=True)
    headers = models.JSONField(default=dict)
    sealed_body = models.TextField(default="")
    created_at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["caller", "key"], name="stored_answer_once")]

    def __str__(self) -> str:
        return f"{self.caller}: {self.key}"

    @property
    def credential_id(self) -> str:
        """What its body is sealed for."""
        return f"answer/{self.pk}"
