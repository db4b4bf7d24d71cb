"""Who there is: organizations, their teams, and the people who belong to them."""

from __future__ import annotations

from typing import Any, Final, get_args
from zoneinfo import ZoneInfo, available_timezones

from django.contrib.auth.models import AbstractUser
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MaxLengthValidator, MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, JSONField, Q

from control_plane.names import SLUG_PATTERN, validate_model_name, validate_slug, validate_text
from control_plane.rights.roles import ORGANIZATION_ROLES, ROLES, TEAM_ROLES, Role
from kong_plugins.llm.release import Tier

MAX_PREFERRED: Final = 5
LONGEST_ROTATION_DAYS: Final = 730
NO_REGION_MESSAGE: Final = "Name at least one region in regions, or leave it out for no rule."
TIERS = [(tier, tier.capitalize()) for tier in get_args(Tier)]


def all_tiers() -> list[Tier]:
    return list(get_args(Tier))


def validate_time_zone(name: str) -> None:
    if name not in available_timezones():
        raise ValidationError("Use a time zone's name from the tz database, such as Europe/Berlin.")


def validate_place(row: Any) -> None:
    """See that a row's department and team are of its organization; take that from them where it was not named."""
    for place in ("department", "team"):
        named = getattr(row, place)
        if named is None:
            continue
        if row.organization_id is None:
            row.organization_id = named.organization_id
        if named.organization_id != row.organization_id:
            raise ValidationError({place: "This is not in the organization."})


class User(AbstractUser):
    """Who administers, with the rights of their memberships; callers of the gateway are virtual keys, never users.

    A service account is a program: it has no password, cannot log in, and acts by its API tokens only. A superuser
    operates the installation and may do everything.
    """

    is_service = models.BooleanField("service account", default=False)
    sessions_ended = models.PositiveIntegerField(
        default=0, editable=False, help_text="How often all sessions were ended; one from before is none any more."
    )

    class Meta(AbstractUser.Meta):
        constraints = [
            models.CheckConstraint(
                condition=Q(is_service=False) | Q(is_superuser=False),
                name="user_service_is_no_superuser",
                violation_error_message="A service account is no superuser: give it a membership.",
            ),
        ]

    def _get_session_auth_hash(self, secret: str | None = None) -> str:
        kept: str = super()._get_session_auth_hash(secret)  # type: ignore[misc]
        return f"{kept}.{self.sessions_ended}"


class Organization(models.Model):
    """The root of everything. Its slug is part of every live counter's name and never changes."""

    slug = models.CharField(max_length=63, unique=True, validators=[validate_slug])
    name = models.CharField(max_length=100, unique=True, validators=[validate_text])
    time_zone = models.CharField(
        max_length=64,
        default="UTC",
        validators=[validate_time_zone],
        help_text="Where the days, weeks, months, quarters and years of budgets begin at midnight. It changes only "
        "while such budgets are switched off; once they are on again, their new periods may begin at nothing spent.",
    )
    fiscal_month_start = models.PositiveSmallIntegerField(
        default=1,
        help_text="The day of the month, 1 to 28, on which months, quarters and years of budgets begin. It changes "
        "only while such budgets are switched off; once they are on again, their new periods may begin at nothing "
        "spent.",
    )
    fault_tolerant_tiers = ArrayField(
        models.CharField(max_length=16, choices=TIERS),
        default=all_tiers,
        blank=True,
        help_text="While Redis is away, their calls go on for a minute where no hard budget applies, and each gateway "
        "counts its part of every limit by itself. Calls of the others are refused then.",
    )
    capless_tiers = ArrayField(
        models.CharField(max_length=16, choices=TIERS),
        verbose_name="tiers that go on past hard budgets",
        default=list,
        blank=True,
        help_text="Of the fault tolerant tiers, those whose calls go on then even under a hard budget, which they may "
        "exceed.",
    )
    regions = ArrayField(
        models.CharField(max_length=63, validators=[validate_slug]),
        verbose_name="data must stay in",
        null=True,
        blank=True,
        help_text="The regions of deployments to which calls of any team may go, such as eu-central-1, westeurope; "
        "none given means anywhere. It goes before every other rule; a deployment without a region never qualifies.",
    )
    tier_models = JSONField(
        verbose_name="models of each tier",
        default=dict,
        blank=True,
        help_text="The request models that the keys of a tier may use, whatever their team may; a tier that is not "
        "named may use all.",
    )
    rotate_keys_every_days = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(LONGEST_ROTATION_DAYS)],
        help_text="Remind of every key that has had its secret for so many days; a key may have less, never more. None "
        "given means that only keys with days of their own are reminded of.",
    )
    readiness_epoch = models.PositiveIntegerField(
        default=0, editable=False, help_text="Rises each time the gateways' counters are declared complete anew."
    )
    behind_since = models.DateTimeField(
        null=True,
        editable=False,
        help_text="Since when changes wait for Redis to be reachable; empty when all are live.",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["slug"]
        constraints = [
            models.CheckConstraint(condition=Q(slug__regex=SLUG_PATTERN), name="organization_slug"),
            models.CheckConstraint(
                condition=Q(fiscal_month_start__range=(1, 28)),
                name="organization_fiscal_month_start",
                violation_error_message="fiscal_month_start must be from 1 to 28.",
            ),
            models.CheckConstraint(
                condition=Q(fault_tolerant_tiers__contained_by=all_tiers()), name="organization_fault_tolerant_tiers"
            ),
            models.CheckConstraint(
                condition=Q(capless_tiers__contained_by=F("fault_tolerant_tiers")),
                name="organization_capless_tiers",
                violation_error_message="Tiers that go on past hard budgets must be fault tolerant too.",
            ),
            models.CheckConstraint(
                condition=~Q(regions__len=0), name="organization_regions", violation_error_message=NO_REGION_MESSAGE
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)


class Department(models.Model):
    """Some teams together, with an owner above theirs. Its slug never changes."""

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="departments")
    slug = models.CharField(max_length=63, validators=[validate_slug])
    name = models.CharField(max_length=100, validators=[validate_text])
    cost_centre = models.CharField(
        max_length=64, blank=True, validators=[validate_text], help_text="What its teams are charged to by default."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["slug"]
        constraints = [
            models.UniqueConstraint(fields=["organization", "slug"], name="department_slug_unique"),
            models.UniqueConstraint(fields=["organization", "name"], name="department_name_unique"),
            models.CheckConstraint(condition=Q(slug__regex=SLUG_PATTERN), name="department_slug"),
        ]

    def __str__(self) -> str:
        return self.name


class Team(models.Model):
    """Who pays. Its slug names it in counters and in the ledger and never changes."""

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="teams")
    department = models.ForeignKey(Department, null=True, blank=True, on_delete=models.PROTECT, related_name="teams")
    slug = models.CharField(max_length=63, validators=[validate_slug])
    name = models.CharField(max_length=100, validators=[validate_text])
    cost_centre = models.CharField(
        max_length=64,
        blank=True,
        validators=[validate_text],
        help_text="What the team is charged to; its department's if none is given.",
    )
    tier: models.CharField[Tier, Tier] = models.CharField(max_length=16, choices=TIERS, default="normal")
    allowed_models = ArrayField(
        models.CharField(max_length=128, validators=[validate_model_name]),
        null=True,
        blank=True,
        help_text="The request models that the team may use; none given means all.",
    )
    allowed_providers = ArrayField(
        models.CharField(max_length=63, validators=[validate_slug]),
        null=True,
        blank=True,
        help_text="The providers to which the team's calls may go; none given means all.",
    )
    preferred_providers = ArrayField(
        models.CharField(max_length=63, validators=[validate_slug]),
        default=list,
        blank=True,
        validators=[MaxLengthValidator(MAX_PREFERRED, f"At most {MAX_PREFERRED} providers.")],
        help_text="The providers that are tried first, in this order, whatever the order of the deployments.",
    )
    regions = ArrayField(
        models.CharField(max_length=63, validators=[validate_slug]),
        verbose_name="data must stay in",
        null=True,
        blank=True,
        help_text="The regions of deployments to which the team's calls may go; none given means that only the "
        "organization's rule counts. Where both name regions, both must hold.",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["slug"]
        constraints = [
            models.UniqueConstraint(fields=["organization", "slug"], name="team_slug_unique"),
            models.UniqueConstraint(fields=["organization", "name"], name="team_name_unique"),
            models.CheckConstraint(condition=Q(slug__regex=SLUG_PATTERN), name="team_slug"),
            models.CheckConstraint(condition=Q(tier__in=get_args(Tier)), name="team_tier"),
            models.CheckConstraint(
                condition=~Q(regions__len=0), name="team_regions", violation_error_message=NO_REGION_MESSAGE
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """A person's role: in all of an organization, or for a department or a team of it."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="memberships")
    department = models.ForeignKey(
        Department, null=True, blank=True, on_delete=models.CASCADE, related_name="memberships"
    )
    team = models.ForeignKey(Team, null=True, blank=True, on_delete=models.CASCADE, related_name="memberships")
    role: models.CharField[Role, Role] = models.CharField(max_length=16, choices=ROLES, default="member")
    from_groups = models.BooleanField(
        default=False,
        editable=False,
        help_text="It was given for a group of the identity provider, and ends at the log-in that brings it no more.",
    )

    class Meta:
        ordering = ["organization", "user", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["user", "organization", "department", "team", "role"],
                name="membership_unique",
                nulls_distinct=False,
                violation_error_message="The person has this role already.",
            ),
            models.CheckConstraint(
                condition=Q(role__in=ORGANIZATION_ROLES, department=None, team=None)
                | Q(role="owner", department__isnull=False, team=None)
                | Q(role__in=TEAM_ROLES, department=None, team__isnull=False),
                name="membership_role_has_its_place",
                violation_error_message="A platform admin, finance and an auditor are of the whole organization, "
                "an owner of a department or a team, members and viewers of a team.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user}, {self.get_role_display().lower()} of {self.team or self.department or self.organization}"

    def clean(self) -> None:
        """An organization that was not named is that of the department or team."""
        validate_place(self)
