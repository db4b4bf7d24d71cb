"""Tokens for the REST API; only a digest is kept."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from control_plane.names import validate_text


class ApiToken(models.Model):
    """What a program calls the REST API with: it acts as `user`, in one organization."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_tokens")
    organization = models.ForeignKey("teams.Organization", on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=100, validators=[validate_text])
    digest = models.CharField(max_length=64, unique=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["organization", "name"], name="api_token_name_unique")]

    def __str__(self) -> str:
        return self.name
