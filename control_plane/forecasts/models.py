"""On which day a budget will be used up, if it goes on like this."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

from django.db import models
from django.db.models import Q

_DAY_MS: Final = 86_400_000


class Forecast(models.Model):
    """What is foreseen of one subject's cap in one period, as of the last calculation.

    The rate is `used` in `window_ms`, in the budget's unit. `exceeds_at` is when spent would reach the cap and
    `exceeds_on` its date in the organization's time zone; both are NULL where that is not before the period's end.
    `told` is how much of it has been told: each once a period.
    """

    class Told(models.TextChoices):
        NOTHING = "nothing"
        FORESEEN = "foreseen"
        NEAR = "near"

    budget = models.ForeignKey("budgets.Budget", on_delete=models.CASCADE, related_name="forecasts")
    subject = models.CharField(max_length=128)
    period = models.CharField(max_length=32)
    ends_at_ms = models.BigIntegerField()
    cap = models.BigIntegerField()
    spent = models.BigIntegerField()
    used = models.BigIntegerField()
    window_ms = models.BigIntegerField()
    exceeds_at = models.DateTimeField(null=True)
    exceeds_on = models.DateField(null=True)
    told = models.CharField(max_length=16, choices=Told.choices, default=Told.NOTHING)
    calculated_at = models.DateTimeField()

    class Meta:
        ordering = ["exceeds_at", "id"]
        constraints = [
            models.UniqueConstraint(fields=["budget", "subject", "period"], name="forecast_once_a_period"),
            models.CheckConstraint(condition=Q(window_ms__gt=0), name="forecast_window"),
            models.CheckConstraint(
                condition=Q(exceeds_at=None, exceeds_on=None) | Q(exceeds_at__isnull=False, exceeds_on__isnull=False),
                name="forecast_date",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.budget} · {self.subject} · {self.period}"

    @property
    def per_day(self) -> int:
        """The rate in whole units a day, rounded."""
        return int((Decimal(self.used) * _DAY_MS / self.window_ms).to_integral_value(ROUND_HALF_EVEN))
