"""How much may be used: budgets with a cap in each calendar period, and limits in any window of time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import ClassVar, Final, TypeVar, get_args

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MaxLengthValidator, MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from control_plane.budgets.validators import MAX_QUEUE_MS, checked_tier_shares, refuse_idle
from control_plane.keys.models import validate_tag
from control_plane.names import validate_text
from kong_plugins.llm.money import MAX_CAP_NUSD
from kong_plugins.llm.release import BudgetUnit, LimitUnit, ScopeKind, Tier
from kong_plugins.llm.windows import PeriodKind

SCOPES: Final = [(kind, kind.capitalize()) for kind in get_args(ScopeKind)]
PERIODS: Final = [(kind, kind.capitalize()) for kind in get_args(PeriodKind)]
BUDGET_UNITS: Final = [("nusd", "Money"), ("tokens", "Tokens"), ("requests", "Requests")]
LIMIT_UNITS: Final = [(unit, unit.capitalize()) for unit in get_args(LimitUnit)]
MAX_WINDOW_MS: Final = 31 * 86_400_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def default_thresholds() -> list[int]:
    return [50, 75, 90, 100]


class Scoped(models.Model):
    """Whom a budget or limit is about: a subject by its id, or each subject of the scope by itself;
    optionally only for one request model, one provider, or keys with one tag.

    A call that does not fit may wait `queue_ms` in a line. `tier_shares_percent` is how much of the amount the calls
    of a tier may use together, for tiers that may not use all of it.
    """

    # What has no effect where nothing is refused.
    idle_in_shadow: ClassVar[tuple[str, ...]] = ("queue_ms",)

    organization = models.ForeignKey("teams.Organization", on_delete=models.PROTECT, related_name="%(class)ss")
    name = models.CharField(max_length=100, validators=[validate_text])
    scope: models.CharField[ScopeKind, ScopeKind] = models.CharField(max_length=16, choices=SCOPES)
    subject = models.CharField(  # noqa: DJ001 - none means each, "" means nothing
        max_length=128,
        null=True,
        blank=True,
        validators=[validate_text],
        help_text="A team's slug, a key's id or a user's label; none given means each by itself.",
    )
    model = models.ForeignKey(
        "catalog.Model",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="Only for calls of this model; none given means all calls together.",
    )
    provider = models.ForeignKey(
        "catalog.Provider",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="Only for calls that go to this provider.",
    )
    tag = models.CharField(  # noqa: DJ001 - none means all keys, "" means nothing
        max_length=64,
        null=True,
        blank=True,
        validators=[validate_tag],
        help_text="Only for calls of keys with this tag.",
    )
    amount = models.BigIntegerField()
    given_amount = models.BigIntegerField(
        null=True,
        blank=True,
        editable=False,
        help_text="What the organization has given: its owner may lower the amount and raise it up to this. None for "
        "what a team has set for itself.",
    )
    queue_ms = models.PositiveIntegerField(
        default=0, help_text="How long a call that does not fit waits in line before it is refused; 0 refuses at once."
    )
    tier_shares_percent: models.JSONField[dict[Tier, int], dict[Tier, int]] = models.JSONField(
        default=dict,
        blank=True,
        help_text="The most of the amount that the calls of a tier may use together; all of it where none is given.",
    )
    shadow = models.BooleanField(default=False, help_text="Count and report, never refuse.")
    active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        abstract = True
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["organization", "name"], name="%(class)s_name_unique"),
            models.CheckConstraint(
                condition=Q(amount__range=(0, MAX_CAP_NUSD)),
                name="%(class)s_amount",
                violation_error_message=f"An amount is from 0 to {MAX_CAP_NUSD}.",
            ),
            models.CheckConstraint(
                condition=Q(given_amount=None) | Q(amount__lte=F("given_amount")),
                name="%(class)s_given_amount",
                violation_error_message="The amount is above what the organization has given.",
            ),
            models.CheckConstraint(condition=Q(scope__in=get_args(ScopeKind)), name="%(class)s_scope"),
            models.CheckConstraint(
                condition=Q(queue_ms__range=(0, MAX_QUEUE_MS)),
                name="%(class)s_queue",
                violation_error_message=f"A call waits at most {MAX_QUEUE_MS // 1000} seconds.",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        self.tier_shares_percent = checked_tier_shares(self.tier_shares_percent, self.amount)
        if self.shadow:
            refuse_idle(self, self.idle_in_shadow, "In shadow mode nothing is refused")

    @property
    def reference(self) -> str:
        """Its id in policy documents, in Redis and in events."""
        return str(self.pk)


ScopedRow = TypeVar("ScopedRow", bound=Scoped)


class Budget(Scoped):
    """At most `amount` in each period: nano-USD, tokens or requests. Its cap in a period is a `BudgetPeriod`.

    A budget for each user by itself has no such rows: gateways take `amount` as the cap of whoever appears. From
    `degrade_at_percent` of the cap on, calls go to what their model degrades to.
    """

    idle_in_shadow = (*Scoped.idle_in_shadow, "degrade_at_percent")

    unit: models.CharField[BudgetUnit, BudgetUnit] = models.CharField(
        max_length=16, choices=BUDGET_UNITS, default="nusd"
    )
    period: models.CharField[PeriodKind, PeriodKind] = models.CharField(max_length=16, choices=PERIODS, default="month")
    hard = models.BooleanField(default=True, help_text="Refuse what does not fit; otherwise only warn.")
    thresholds_percent = ArrayField(
        models.PositiveSmallIntegerField(validators=[MinValueValidator(1), MaxValueValidator(100)]),
        default=default_thresholds,
        blank=True,
        validators=[MaxLengthValidator(10, "At most 10 thresholds.")],
        help_text="Percentages of the cap, each reported once a period.",
    )
    degrade_at_percent = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(100)],
        help_text="From this percentage of the cap on, a call goes to what its model degrades to; "
        "a model that degrades to nothing goes on up to the cap.",
    )
    carry_over_max = models.BigIntegerField(
        default=0, help_text="The most of what a period leaves unspent that is added to the cap of the next."
    )

    class Meta(Scoped.Meta):
        constraints = [
            *Scoped.Meta.constraints,
            models.CheckConstraint(condition=Q(unit__in=get_args(BudgetUnit)), name="budget_unit"),
            models.CheckConstraint(condition=Q(period__in=get_args(PeriodKind)), name="budget_period"),
            models.CheckConstraint(
                condition=Q(carry_over_max__range=(0, MAX_CAP_NUSD)),
                name="budget_carry_over_max",
                violation_error_message=f"What is carried over is from 0 to {MAX_CAP_NUSD}.",
            ),
        ]

    def clean(self) -> None:
        super().clean()
        self._check_carry_over()
        if self.thresholds_percent != sorted(set(self.thresholds_percent)):
            raise ValidationError({"thresholds_percent": "Give each percentage once, in ascending order."})
        if not self.hard:
            idle = ("queue_ms", "tier_shares_percent", "degrade_at_percent")
            refuse_idle(self, idle, "A budget that only warns refuses nothing")

    @property
    def is_for_each_user(self) -> bool:
        """Whether each user has the amount to themselves, whoever they are."""
        return self.scope == "user" and self.subject is None

    def _check_carry_over(self) -> None:
        complaint = None
        if self.carry_over_max and self.period == "total":
            complaint = "A total has no next period to carry over to."
        elif self.carry_over_max and self.is_for_each_user:
            complaint = "Of a budget for each user by itself nothing is carried over: name the user."
        elif self.carry_over_max + (self.amount or 0) > MAX_CAP_NUSD:
            complaint = f"With the amount, this must not be above {MAX_CAP_NUSD}."
        if complaint:
            raise ValidationError({"carry_over_max": complaint})


class BudgetPeriod(models.Model):
    """A budget's cap for one subject in one period. What was spent and is held of it is counted in Redis.

    The cap is the budget's amount and what was carried over from the period before; extensions come on top of it.
    Once the period is over and what it left is carried on, it is closed. `version` rises with every change, and the
    cap is live when `published_version` has caught up.
    """

    budget = models.ForeignKey(Budget, on_delete=models.PROTECT, related_name="periods")
    subject = models.CharField(max_length=128)
    name = models.CharField(max_length=32)
    starts_at_ms = models.BigIntegerField()
    ends_at_ms = models.BigIntegerField()
    cap = models.BigIntegerField()
    carried_over = models.BigIntegerField(default=0)
    closed_at = models.DateTimeField(null=True)
    version = models.PositiveIntegerField(default=1)
    published_version = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["budget", "subject", "starts_at_ms"]
        indexes = [
            models.Index(fields=["id"], name="period_behind", condition=Q(published_version__lt=F("version"))),
            models.Index(fields=["ends_at_ms"], name="period_open", condition=Q(closed_at=None)),
        ]
        constraints = [
            models.UniqueConstraint(fields=["budget", "subject", "name"], name="period_unique"),
            models.CheckConstraint(condition=Q(cap__range=(0, MAX_CAP_NUSD)), name="period_cap"),
            models.CheckConstraint(condition=Q(carried_over__range=(0, F("cap"))), name="period_carried_over"),
            models.CheckConstraint(condition=Q(starts_at_ms__lt=F("ends_at_ms")), name="period_span"),
            models.CheckConstraint(condition=Q(published_version__lte=F("version")), name="period_published_version"),
        ]

    def __str__(self) -> str:
        return f"{self.budget} · {self.subject} · {self.name}"

    @property
    def live(self) -> bool:
        """Whether gateways know its newest cap."""
        return self.published_version == self.version


class Extension(models.Model):
    """So much is added to a budget's cap for one subject until an instant, for a reason that somebody gave.

    It counts in every period that runs within its life, in each with all of its amount. Nothing of it changes; it can
    only be revoked.
    """

    budget = models.ForeignKey(Budget, on_delete=models.PROTECT, related_name="extensions")
    subject = models.CharField(max_length=128, validators=[validate_text])
    amount = models.BigIntegerField()
    expires_at = models.DateTimeField()
    reason = models.CharField(max_length=500, validators=[validate_text])
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    revoked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["budget", "subject", "expires_at"], name="extension_of_subject")]
        constraints = [
            models.CheckConstraint(
                condition=Q(amount__range=(1, MAX_CAP_NUSD)),
                name="extension_amount",
                violation_error_message=f"An extension is from 1 to {MAX_CAP_NUSD}.",
            ),
            models.CheckConstraint(
                condition=Q(revoked_at=None, revoked_by=None) | Q(revoked_at__isnull=False, revoked_by__isnull=False),
                name="extension_revoked_by_somebody",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.budget} · {self.subject} · until {self.expires_at:%Y-%m-%d %H:%M}"

    @property
    def expires_at_ms(self) -> int:
        return (self.expires_at - _EPOCH) // timedelta(milliseconds=1)


class ExtensionRequest(models.Model):
    """Somebody of a team asks for so much more of one of its budgets until an instant; whoever is above decides.

    What was approved is the `extension`, never more than was asked for. Nothing of a request changes but its state,
    once; one that still waits when the asked-for end has come is expired.
    """

    class State(models.TextChoices):
        WAITING = "waiting"
        APPROVED = "approved"
        REFUSED = "refused"
        WITHDRAWN = "withdrawn"

    budget = models.ForeignKey(Budget, on_delete=models.PROTECT, related_name="extension_requests")
    # Whose budget it is: the team itself, or that of the key which the budget is about.
    team = models.ForeignKey("teams.Team", on_delete=models.PROTECT, related_name="extension_requests")
    period_name = models.CharField("period", max_length=32)
    amount = models.BigIntegerField()
    expires_at = models.DateTimeField("until")
    reason = models.CharField(max_length=500, validators=[validate_text])
    asked_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="extension_requests")
    asked_at = models.DateTimeField(auto_now_add=True)
    state = models.CharField(max_length=16, choices=State.choices, default=State.WAITING)
    # Who approved, refused or withdrew it.
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    decided_at = models.DateTimeField(null=True, blank=True)
    note = models.CharField(max_length=500, blank=True, validators=[validate_text])
    extension = models.OneToOneField(Extension, null=True, blank=True, on_delete=models.PROTECT, related_name="request")

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["team"], name="request_waiting", condition=Q(state="waiting"))]
        constraints = [
            models.CheckConstraint(
                condition=Q(amount__range=(1, MAX_CAP_NUSD)),
                name="request_amount",
                violation_error_message=f"An extension is from 1 to {MAX_CAP_NUSD}.",
            ),
            models.CheckConstraint(
                condition=Q(state="waiting", decided_by=None, decided_at=None)
                | Q(~Q(state="waiting"), decided_by__isnull=False, decided_at__isnull=False),
                name="request_decided_by_somebody",
            ),
            models.CheckConstraint(
                condition=Q(state="approved", extension__isnull=False) | Q(~Q(state="approved"), extension=None),
                name="request_approved_has_extension",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.budget} · asked by {self.asked_by}"

    @property
    def state_now(self) -> str:
        is_late = self.state == self.State.WAITING and self.expires_at <= timezone.now()
        return "expired" if is_late else self.state


class Limit(Scoped):
    """At most `amount` requests, tokens or concurrent calls in any window of `window_ms`."""

    unit: models.CharField[LimitUnit, LimitUnit] = models.CharField(
        max_length=16, choices=LIMIT_UNITS, default="requests"
    )
    window_ms = models.PositiveBigIntegerField()

    class Meta(Scoped.Meta):
        constraints = [
            *Scoped.Meta.constraints,
            models.CheckConstraint(condition=Q(unit__in=get_args(LimitUnit)), name="limit_unit"),
            models.CheckConstraint(
                condition=Q(window_ms__range=(1_000, MAX_WINDOW_MS)),
                name="limit_window",
                violation_error_message="A window is from one second to 31 days.",
            ),
        ]
