"""Virtual keys. Only a digest is kept; the key itself is shown once, when it is made."""

from __future__ import annotations

from typing import Final, get_args

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxLengthValidator, RegexValidator
from django.db import models
from django.db.models import F, Q

from control_plane.names import validate_model_name, validate_text
from control_plane.teams.models import TIERS
from kong_plugins.llm.release import Tier

_RANKS: Final[tuple[Tier, ...]] = get_args(Tier)
MAX_TAGS: Final = 16
validate_tag = RegexValidator(
    r"^[A-Za-z0-9][A-Za-z0-9._:/=-]{0,63}\Z", "Use letters, digits and . _ : / = -; at most 64."
)


def lower_tier(one: Tier, other: Tier) -> Tier:
    """The less important of two tiers."""
    return max(one, other, key=_RANKS.index)


class VirtualKey(models.Model):
    """A key of a team. `version` rises with every change of what gateways know of it; the key is live
    when `published_version` has caught up.

    Whether it `speaks_for_users` never changes, so that its events say for good which of them count for their users.
    """

    id = models.CharField(max_length=12, primary_key=True, editable=False)
    team = models.ForeignKey("teams.Team", on_delete=models.PROTECT, related_name="keys")
    name = models.CharField(max_length=100, validators=[validate_text])
    digest = models.CharField(max_length=64, editable=False)
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
        ]

    def __str__(self) -> str:
        return self.name

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
