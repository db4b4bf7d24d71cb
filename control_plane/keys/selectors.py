"""What is read of virtual keys."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from django.core.exceptions import ValidationError
from django.db.models import (
    Case,
    DateTimeField,
    DurationField,
    ExpressionWrapper,
    Max,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Value,
    When,
)
from django.db.models.functions import Coalesce, Least, Now

from control_plane.keys.models import KeyUse, VirtualKey, lower_tier
from control_plane.rights.person import Organizations, Teams, person_of
from kong_plugins.llm.keys import KeyRecord
from kong_plugins.llm.release import Tier
from kong_plugins.llm.restrictions import network_of

if TYPE_CHECKING:
    from control_plane.teams.models import Team, User

EXPIRES_SOON: Final = timedelta(days=7)


def active_key_ids(organization_id: int) -> list[str]:
    rows = VirtualKey.objects.filter(team__organization_id=organization_id, revoked_at=None)
    return list(rows.values_list("id", flat=True))


def speaking_key_ids(organization_id: int) -> list[str]:
    """The keys, revoked ones too, whose users' labels select those users' own limits and budgets."""
    rows = VirtualKey.objects.filter(team__organization_id=organization_id, speaks_for_users=True)
    return list(rows.values_list("id", flat=True))


def team_of_key(organization_id: int, key_id: str) -> Team | None:
    key = VirtualKey.objects.select_related("team").filter(team__organization_id=organization_id, pk=key_id).first()
    return key.team if key else None


def with_use(rows: QuerySet[VirtualKey]) -> QuerySet[Any]:
    """The keys with `used_at` and `former_used_at`, when they and their former secrets were last used, in the wire
    format `used_protocol`; `idle_since`, which for a key that was never used is its making; `due_at` for rotation;
    `state_now`, `is_rotation_due`, and `is_expiring` soon."""
    uses = KeyUse.objects.filter(key=OuterRef("pk")).order_by()
    former = uses.filter(generation=OuterRef("generation") - 1)
    expired, active = Q(expires_at__lte=Now()), Q(revoked_at=None)
    days = Least("rotate_every_days", "team__organization__rotate_keys_every_days")
    age = ExpressionWrapper(days * Value(timedelta(days=1)), output_field=DurationField())
    due_at = ExpressionWrapper(Coalesce("rotated_at", "created_at") + age, output_field=DateTimeField())
    return rows.annotate(
        used_at=Subquery(uses.values("key").annotate(newest=Max("last_used_at")).values("newest")),
        used_protocol=Subquery(uses.order_by("-last_used_at").values("protocol")[:1]),
        former_used_at=Subquery(former.values("last_used_at")[:1]),
        idle_since=Coalesce("used_at", "created_at"),
        due_at=due_at,
        state_now=Case(
            When(~active, then=Value("revoked")), When(expired, then=Value("expired")), default=Value("active")
        ),
        is_rotation_due=Case(When(active & ~expired & Q(due_at__lte=Now()), then=True), default=False),
        is_expiring=Case(
            When(active & ~expired & Q(expires_at__lte=Now() + Value(EXPIRES_SOON)), then=True), default=False
        ),
    )


def shown_key(key_id: str) -> VirtualKey:
    """A key with all that is shown of it."""
    key: VirtualKey = with_use(VirtualKey.objects.select_related("team__organization")).get(pk=key_id)
    return key


def issues_for_themselves(user: User, team: Team) -> bool:
    """Whether a key that somebody issues to a team is for themselves, unless they say otherwise: it is a person,
    and not who runs the team."""
    person = person_of(user)
    runs_team = team.pk in person.teams.get("owner", Teams()).ids
    runs_all = team.organization_id in person.organizations.get("platform_admin", Organizations()).ids
    return not (user.is_service or person.everything or runs_team or runs_all)


def validate_own_tier(team: Team, own_tier: Tier | None) -> None:
    """Refuse a key's tier that is above its team's.

    Raises:
        ValidationError: for `own_tier`.
    """
    if own_tier and lower_tier(own_tier, team.tier) != own_tier:
        raise ValidationError({"own_tier": f"A key cannot be above its team, which is {team.tier}."})


def network_texts(texts: Sequence[str]) -> list[str]:
    """Networks as they are stored, each once.

    Raises:
        ValidationError: by field.
    """
    found: dict[str, None] = {}
    for text in texts:
        try:
            found[str(network_of(text.strip()))] = None
        except ValueError:
            message = f"{text!r} is no network: write a block such as 10.20.0.0/16 or 2001:db8::/32, or one address."
            raise ValidationError({"allowed_networks": message}) from None
    return list(found)


def key_record(key: VirtualKey) -> KeyRecord:
    """What gateways are to know of a key."""
    return KeyRecord(
        id=key.id,
        version=key.version,
        digest=key.digest,
        organization=key.team.organization.slug,
        team=key.team.slug,
        name=key.name,
        tier=key.tier,
        active=key.active,
        expires_at_ms=int(key.expires_at.timestamp() * 1000) if key.expires_at else None,
        tags=key.all_tags,
        speaks_for_users=key.speaks_for_users,
        models=None if key.allowed_models is None else tuple(key.allowed_models),
        routes=None if key.allowed_routes is None else tuple(key.allowed_routes),
        networks=None if key.allowed_networks is None else tuple(key.allowed_networks),
        generation=key.generation,
        former_digest=key.former_digest or None,
        former_until_ms=int(key.former_until.timestamp() * 1000) if key.former_until else None,
    )
