"""Virtual keys. Only digests are kept; the key itself is shown once, when it is made or has got a new secret."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, get_args

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MaxLengthValidator, MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from control_plane.names import validate_model_name, validate_text
from control_plane.teams.models import LONGEST_ROTATION_DAYS, TIERS
from kong_plugins.llm.release import Tier

# Published as a tag, so that events, sums, limits and budgets know it as they know tags.
APPLICATION_TAG: Final = "app="
_RANKS: Final[tuple[Tier, ...]] = get_args(Tier)
MAX_TAGS: Final = 16
MAX_NETWORKS: Final = 50
validate_tag = RegexValidator(
    r"^[A-Za-z0-9][A-Za-z0-9._:/=-]{0,63}\Z", "Use letters, digits and . _ : / = -; at most 64."
)

validate_application = RegexValidator(
    r"^[A-Za-z0-9._:/-]{1,60}\Z", "Use letters, digits and . _ : / -; at most 60.", code="invalid_application"
)
validate_route = RegexValidator(
    r"^[A-Za-z0-9._~-]{1,128}\Z", "Use the name or the id of a route of Kong, such as openai-embeddings."
)


def lower_tier(one: Tier, other: Tier) -> Tier:
    """The less important of two tiers."""
    return max(one, other, key=_RANKS.index)


class VirtualKey(models.Model):
    """A key of a team. `version` rises with every change of what gateways know of it; the key is live
    when `published_version` has caught up.

    Its `generation` counts its secrets. The one before the newest, of `former_digest`, is good until `former_until`.
    Whether it `speaks_for_users` never changes, so that its events say for good which of them count for their users.
    """

    id = models.CharField(max_length=12, primary_key=True, editable=False)
    team = models.ForeignKey("teams.Team", on_delete=models.PROTECT, related_name="keys")
    name = models.CharField(max_length=100, validators=[validate_text])
    digest = models.CharField(max_length=64, editable=False)
    generation = models.PositiveIntegerField(default=1, editable=False)
    rotated_at = models.DateTimeField(null=True, editable=False)
    former_digest = models.CharField(max_length=64, default="", editable=False)
    former_until = models.DateTimeField(null=True, editable=False)
    application = models.CharField(
        max_length=60,
        blank=True,
        validators=[validate_application],
        help_text="What calls with it, such as search-web. In spend, limits and budgets it is the tag app=….",
    )
    description = models.CharField(max_length=500, blank=True, validators=[validate_text])
    contact = models.CharField(
        max_length=200, blank=True, validators=[validate_text], help_text="Whom to ask before it is changed or ended."
    )
    tags = ArrayField(
        models.CharField(max_length=64, validators=[validate_tag]),
        default=list,
        blank=True,
        validators=[MaxLengthValidator(MAX_TAGS, f"At most {MAX_TAGS} tags.")],
    )
    allowed_models = ArrayField(
        models.CharField(max_length=128, validators=[validate_model_name]),
        null=True,
        blank=True,
        help_text="The request models that the key may use; none given means all that its team may.",
    )
    allowed_routes = ArrayField(
        models.CharField(max_length=128, validators=[validate_route]),
        verbose_name="routes",
        null=True,
        blank=True,
        help_text="The routes of Kong on which it may be used, such as openai-chat-completions, openai-embeddings; "
        "none given means all. Questions have routes too: models, bursar-limits, bursar-estimate.",
    )
    allowed_networks = ArrayField(
        models.CharField(max_length=49),
        verbose_name="networks",
        null=True,
        blank=True,
        validators=[MaxLengthValidator(MAX_NETWORKS, f"At most {MAX_NETWORKS} networks.")],
        help_text="From where it may be used, such as 10.20.0.0/16, 2001:db8::/32 or one address; none given means "
        "from anywhere. The address is the client's as Kong sees it.",
    )
    own_tier: models.CharField[Tier | None, Tier | None] = models.CharField(  # noqa: DJ001 - none is not ""
        "tier",
        max_length=16,
        choices=TIERS,
        null=True,
        blank=True,
        help_text="For a key that yields to its team's others, such as one of experiments; none given means its "
        "team's, which no key can exceed.",
    )
    speaks_for_users = models.BooleanField(
        default=False,
        help_text="Its x-user-id or its requests' user selects that user's own limits and budgets; "
        "otherwise it is a label in the ledger.",
    )
    personal = models.BooleanField(
        default=False,
        help_text="It is for whoever has issued it, and is revoked as soon as they are switched off; any other is the "
        "team's and goes on.",
    )
    rotate_every_days = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(LONGEST_ROTATION_DAYS)],
        help_text="Remind when it has had its secret for so many days; the organization's rule goes for it in any "
        "case.",
    )
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    version = models.PositiveIntegerField(default=1, editable=False)
    published_version = models.PositiveIntegerField(default=0, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, editable=False, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["team", "name"]
        indexes = [
            models.Index(fields=["id"], name="key_behind", condition=Q(published_version__lt=F("version"))),
        ]
        constraints = [
            models.UniqueConstraint(fields=["team", "name"], name="key_name_unique"),
            models.CheckConstraint(condition=Q(published_version__lte=F("version")), name="key_published_version"),
            models.CheckConstraint(
                condition=Q(former_digest="", former_until=None) | ~Q(former_digest="") & Q(former_until__isnull=False),
                name="key_former_secret",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        if any(tag.startswith(APPLICATION_TAG) for tag in self.tags):
            raise ValidationError({"tags": f"Give what follows {APPLICATION_TAG} as the application."})

    @property
    def all_tags(self) -> tuple[str, ...]:
        """Its tags as events carry them, the application first."""
        return (*((APPLICATION_TAG + self.application,) if self.application else ()), *self.tags)

    @property
    def rotation_due_at(self) -> datetime | None:
        """When its secret will be as old as its own rule or its organization's allows; None where there is none."""
        days = [each for each in (self.rotate_every_days, self.team.organization.rotate_keys_every_days) if each]
        return (self.rotated_at or self.created_at) + timedelta(days=min(days)) if days else None

    @property
    def former_is_good(self) -> bool:
        """Whether the secret before the newest may still be used."""
        return self.active and self.former_until is not None and self.former_until > timezone.now()

    @property
    def state(self) -> str:
        if not self.active:
            return "revoked"
        return "expired" if self.expires_at and self.expires_at <= timezone.now() else "active"

    @property
    def tier(self) -> Tier:
        """The lower of its own tier and its team's, which may have been lowered since."""
        return lower_tier(self.team.tier, self.own_tier or self.team.tier)

    @property
    def active(self) -> bool:
        return self.revoked_at is None

    @property
    def live(self) -> bool:
        """Whether gateways know its newest state."""
        return self.published_version == self.version


class KeyUse(models.Model):
    """When a key was last used, to the minute, by each of its secrets, and in which wire format. The ledger's ingest
    keeps it; it is about what happened, so it is no change of the key and no gateway is told."""

    key = models.ForeignKey(VirtualKey, on_delete=models.CASCADE, related_name="uses")
    generation = models.PositiveIntegerField()
    last_used_at = models.DateTimeField()
    protocol = models.TextField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["key", "generation"], name="key_use_once")]

    def __str__(self) -> str:
        return f"{self.key_id} {self.last_used_at.isoformat()}"


class KeyReminder(models.Model):
    """That people were reminded of a key that is `due_at` an instant, so that nobody is twice."""

    class Kind(models.TextChoices):
        ROTATION = "rotation"
        EXPIRY = "expiry"

    key = models.ForeignKey(VirtualKey, on_delete=models.CASCADE, related_name="reminders")
    kind = models.CharField(max_length=16, choices=Kind.choices)
    due_at = models.DateTimeField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["key", "kind", "due_at"], name="key_reminder_once")]

    def __str__(self) -> str:
        return f"{self.key_id} {self.kind} {self.due_at.isoformat()}"
