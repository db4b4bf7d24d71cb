"""Releases: every policy document that was ever published, immutable and numbered."""

from __future__ import annotations

from django.db import models


class Release(models.Model):
    """A numbered snapshot of an organization's policy; `document` is what gateways read, byte for byte equal
    in content. It is live once `published_at` is set and no higher number is."""

    organization = models.ForeignKey("teams.Organization", on_delete=models.PROTECT, related_name="releases")
    number = models.PositiveIntegerField()
    checksum = models.CharField(max_length=64)
    document = models.JSONField()
    created_by = models.CharField(max_length=150)
    created_at = models.DateTimeField(auto_now_add=True)
    published_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["organization", "number"], name="release_number_unique")]

    def __str__(self) -> str:
        return f"Release {self.number} of {self.organization}"

    @property
    def live(self) -> bool:
        return self.published_at is not None
