"""Aliases: names that stand for a model."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from control_plane.names import MODEL_NAME_PATTERN, validate_model_name


class Alias(models.Model):
    """A name that clients may ask for instead of a model's; a team's own meaning goes before that of all teams."""

    organization = models.ForeignKey("teams.Organization", on_delete=models.PROTECT, related_name="aliases")
    name = models.CharField(
        max_length=128, validators=[validate_model_name], help_text="What clients ask for, such as fast or best."
    )
    team = models.ForeignKey(
        "teams.Team",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="aliases",
        help_text="Whose calls it is for; none for those of all teams that have no meaning of their own for it.",
    )
    model = models.ForeignKey(
        "catalog.Model",
        on_delete=models.PROTECT,
        related_name="aliases",
        help_text="What it stands for; limits, budgets and the ledger count the calls as of this model.",
    )
    active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name", "team__slug"]
        verbose_name_plural = "aliases"
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "team", "name"],
                name="alias_unique",
                nulls_distinct=False,
                violation_error_message="There is such an alias already; change what it stands for.",
            ),
            models.CheckConstraint(condition=Q(name__regex=MODEL_NAME_PATTERN), name="alias_name"),
        ]

    def __str__(self) -> str:
        return f"{self.name} of {self.team}" if self.team else self.name
