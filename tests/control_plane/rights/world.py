"""Three teams that know nothing of each other: red and blue of one organization, green of another. Whatever is of one
of them carries its word, so that a leak is seen wherever it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.db.models import Model

from control_plane.alerts.models import Alert, Delivery, Webhook
from control_plane.api.models import ApiToken
from control_plane.audit.models import AuditEntry
from control_plane.budgets.models import Budget, BudgetPeriod, Extension, ExtensionRequest, Limit
from control_plane.catalog import models as catalog
from control_plane.forecasts.models import Forecast
from control_plane.identity.models import DirectoryGroup, DirectoryPerson, GroupMapping
from control_plane.keys.models import VirtualKey
from control_plane.ledger.models import DeadLetter, HourRollup, Reconciliation, RefusalCount, UsageEvent
from control_plane.releases.models import Release
from control_plane.routing.models import Alias
from control_plane.teams.models import Department, Membership, Organization, Team, User

COLOURS: Final = ("red", "blue", "green")
# What a row of a colour has in it, and no other has.
AMOUNTS_NUSD: Final = {"red": 1_234_567_000, "blue": 7_654_321_000, "green": 9_876_543_000}
NOW: Final = datetime.now(UTC)


def word(colour: str) -> str:
    return f"zq{colour}"


@dataclass
class World:
    """The rows of each colour, by kind."""

    rows: dict[type[Model], dict[str, Any]] = field(default_factory=dict)

    def add(self, colour: str, row: Any) -> Any:
        row.save(force_insert=True)
        self.rows.setdefault(type(row), {})[colour] = row
        return row

    def of(self, kind: type[Model], colour: str) -> Any:
        return self.rows[kind][colour]


def build() -> World:
    world = World()
    acme = Organization(slug="zqacme", name="zqacme")
    acme.save()
    other = Organization(slug="zqgreen-org", name="zqgreen org")
    other.save()
    for colour in COLOURS:
        organization = other if colour == "green" else acme
        world.rows.setdefault(Organization, {})[colour] = organization
        _fill(world, colour, organization)
    return world


def _fill(world: World, colour: str, organization: Organization) -> None:
    name = word(colour)
    department = world.add(
        colour, Department(organization=organization, slug=f"{name}-dep", name=f"{name} dep", cost_centre=f"{name}cc")
    )
    team = world.add(
        colour, Team(organization=organization, department=department, slug=f"{name}-team", name=f"{name} team")
    )
    user = world.add(colour, User(username=f"{name}-user", email=f"{name}@example.com", first_name=name, is_staff=True))
    world.add(colour, Membership(user=user, organization=organization, team=team, role="viewer"))
    world.add(colour, GroupMapping(organization=organization, group=f"{name} group", role="viewer", team=team))
    world.add(colour, DirectoryPerson(organization=organization, user=user, external_id=f"{name}-external"))
    group = world.add(colour, DirectoryGroup(organization=organization, name=f"{name} group"))
    group.members.add(user)
    world.add(colour, ApiToken(user=user, organization=organization, name=f"{name} token", digest=f"{name}digest"))
    key = world.add(
        colour, VirtualKey(id=f"{name}key", team=team, name=f"{name} key", digest=name, tags=[f"{name}-tag"])
    )
    _what_may_be_used(world, colour, organization, team, user)
    _what_can_be_called(world, colour, organization, team)
    # The database has written of it itself.
    entry = AuditEntry.objects.filter(organization=organization.slug, team=team.slug).earliest("pk")
    world.rows.setdefault(AuditEntry, {})[colour] = entry
    _what_happened(world, colour, organization, team, key)


def _what_may_be_used(world: World, colour: str, organization: Organization, team: Team, user: User) -> None:
    name, amount = word(colour), AMOUNTS_NUSD[colour]
    scoped: dict[str, Any] = {"organization": organization, "scope": "team", "subject": team.slug}
    budget = world.add(
        colour, Budget(**scoped, name=f"{name} budget", unit="nusd", period="month", amount=amount, given_amount=amount)
    )
    world.add(colour, Limit(**scoped, name=f"{name} limit", unit="requests", window_ms=60_000, amount=10))
    now_ms = int(NOW.timestamp() * 1000)
    span = {"starts_at_ms": now_ms - 86_400_000, "ends_at_ms": now_ms + 86_400_000}
    world.add(colour, BudgetPeriod(budget=budget, subject=team.slug, name="p", cap=amount, **span))
    world.add(
        colour,
        Extension(
            budget=budget, subject=team.slug, amount=5, expires_at=NOW + timedelta(days=1), reason=name, created_by=user
        ),
    )
    asked = {"asked_by": user, "reason": f"{name} asks", "expires_at": NOW + timedelta(hours=1)}
    world.add(colour, ExtensionRequest(budget=budget, team=team, period_name="p", amount=5, **asked))
    world.add(
        colour,
        Forecast(
            budget=budget,
            subject=team.slug,
            period="p",
            ends_at_ms=span["ends_at_ms"],
            cap=amount,
            spent=amount,
            used=amount,
            window_ms=1_000,
            calculated_at=NOW,
        ),
    )


def _what_can_be_called(world: World, colour: str, organization: Organization, team: Team) -> None:
    """The catalogue is the organization's: what of it is named after blue, red may see too."""
    name = word(colour) if colour == "green" else f"zqacme-{colour[0]}"
    tokens = {"context_window_tokens": 1_000, "max_output_tokens": 100, "default_output_tokens": 10}
    model = world.add(colour, catalog.Model(organization=organization, name=f"{name}-model", **tokens))
    provider = world.add(
        colour,
        catalog.Provider(organization=organization, name=f"{name}-provider", base_url="https://api.example.com/v1"),
    )
    deployment = world.add(
        colour,
        catalog.Deployment(model=model, provider=provider, provider_model=f"{name}-there", protocol="openai_chat"),
    )
    rates = dict.fromkeys(("input_nusd", "cache_read_nusd", "cache_write_nusd", "output_nusd"), 1)
    world.add(colour, catalog.Price(deployment=deployment, effective_from=NOW, created_by=name, **rates))
    world.add(
        colour,
        catalog.Discount(
            organization=organization, deployment=deployment, percent=1, effective_from=NOW, created_by=name
        ),
    )
    world.add(colour, Alias(organization=organization, name=f"{word(colour)}-alias", team=team, model=model))


def _what_happened(world: World, colour: str, organization: Organization, team: Team, key: VirtualKey) -> None:
    name, amount = word(colour), AMOUNTS_NUSD[colour]
    webhook = world.add(
        colour, Webhook(organization=organization, url=f"https://{organization.slug}.example.com/{colour}hook")
    )
    alert = world.add(
        colour,
        Alert(
            organization=organization,
            event_id=name,
            budget=name,
            budget_name=name,
            subject=name,
            team=team.slug,
            period="p",
            percent=50,
            unit="nusd",
            cap=amount,
            spent=amount,
            crossed_at=NOW,
        ),
    )
    world.add(colour, Delivery(alert=alert, webhook=webhook, next_attempt_at=NOW))
    who = {"organization": organization.slug, "team": team.slug, "key": key.pk, "user": f"{name}-user"}
    what = {"request_model": f"{name}-model", "provider": f"{name}-provider", "kind": "posted", "amount_nusd": amount}
    _save(world, colour, UsageEvent, **who, **what, request_id=name, event_id=name, reserved_at=NOW, posted_at=NOW)
    _save(world, colour, HourRollup, **who, **what, hour=NOW.replace(minute=0, second=0, microsecond=0), requests=1)
    refused = {"hour": NOW.replace(minute=0, second=0, microsecond=0), "refusing_scope": f"{name} rule", "calls": 7_131}
    _save(world, colour, RefusalCount, organization=organization.slug, team=team.slug, **refused)
    if colour != "blue":
        _save(world, colour, Reconciliation, organization=organization.slug)
        _save(world, colour, DeadLetter, organization=organization.slug, payload=b"x")
        _save(
            world,
            colour,
            Release,
            organization=organization,
            number=COLOURS.index(colour) + 1,
            created_by=organization.slug,
        )


def _save(world: World, colour: str, kind_of_row: type[Model], /, **known: Any) -> None:
    """A row of a kind with many columns: those that are not known are as empty as they can be."""
    empty: dict[str, Any] = {
        "TextField": "",
        "CharField": "",
        "DateTimeField": NOW,
        "DateField": NOW.date(),
        "ArrayField": [],
        "JSONField": {},
        "BooleanField": False,
        "BinaryField": b"{}",
    }
    for column in kind_of_row._meta.concrete_fields:
        if column.name in known or column.primary_key or column.null or column.has_default():
            continue
        known[column.name] = empty.get(column.get_internal_type(), 0)
    world.add(colour, kind_of_row(**known))
