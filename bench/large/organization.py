"""Who there is in the large organization: teams, people, keys, what they may use, and what they may call.

The rows are made in bulk, past the services, of which one a row would take hours; triggers write the audit log all the
same. Drawn with a fixed seed.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import accumulate
from typing import Any, Final

from django.utils import timezone

from bench.large.size import Size
from control_plane.budgets.models import Budget, BudgetPeriod, Extension, Limit
from control_plane.budgets.selectors import now_ms
from control_plane.catalog.models import Deployment, Model, Price
from control_plane.catalog.providers import create_provider
from control_plane.keys.models import VirtualKey
from control_plane.routing.models import Alias
from control_plane.teams.models import Department, Membership, Organization, Team, User
from kong_plugins.llm.keys import issue_key
from kong_plugins.llm.windows import period_at

SLUG: Final = "large"
PROVIDERS: Final = ("openai", "anthropic", "azure-eu", "google", "bedrock-eu", "mistral")
# Who looks at the pages, by their user names: each with one role.
WATCHERS: Final = ("platform", "finance", "auditor", "department-owner", "team-owner")
_BATCH: Final = 5_000
_SEED: Final = 5
_NUSD_PER_USD: Final = 1_000_000_000
_MONTHS_BACK: Final = 2
_TIERS: Final = ("critical", "normal", "normal", "normal", "experimental")


@dataclass(frozen=True, kw_only=True)
class Caller:
    """A key, as calls name it; `model_numbers` are those it asks for."""

    key: str
    team: str
    tier: str
    tags: tuple[str, ...]
    users: int
    model_numbers: tuple[int, ...]


def make_organization(size: Size) -> list[Caller]:
    """Make all rows but those of calls; return who calls, those of the largest team first."""
    dice = random.Random(_SEED)
    organization = Organization.objects.create(slug=SLUG, name="Large", time_zone="Europe/Berlin")
    models = _catalogue(organization, size.models)
    departments = Department.objects.bulk_create(
        Department(organization=organization, slug=f"department-{n}", name=f"Department {n}", cost_centre=f"CC-{n:03}")
        for n in range(max(2, size.teams // 100))
    )
    teams = Team.objects.bulk_create(_teams(organization, departments, size.teams), batch_size=_BATCH)
    people = _people(organization, departments, teams)
    keys = VirtualKey.objects.bulk_create(_keys(teams, people, size.keys, dice), batch_size=_BATCH)
    _rules(organization, teams, keys, people)
    Alias.objects.bulk_create(
        Alias(organization=organization, name=f"fast-{n}", team=team, model=models[n % len(models)])
        for n, team in enumerate(teams[:: max(1, len(teams) // 200)])
    )
    slugs = {team.pk: team for team in teams}
    return [_caller(key, slugs[key.team_id], len(models), dice) for key in keys]


def _catalogue(organization: Organization, number_of_models: int) -> list[Model]:
    providers = [
        create_provider(
            organization_id=organization.pk,
            name=name,
            vendor="custom",
            base_url="https://provider.example/v1",
            credential="nobody-uses-it",
            actor=WATCHERS[0],
        )
        for name in PROVIDERS
    ]
    models = Model.objects.bulk_create(
        Model(
            organization=organization,
            name=model_name(number),
            context_window_tokens=128_000,
            max_output_tokens=16_000,
            default_output_tokens=1_000,
        )
        for number in range(number_of_models)
    )
    deployments = Deployment.objects.bulk_create(
        Deployment(model=model, provider=providers[number % len(PROVIDERS)], provider_model=model.name)
        for number, model in enumerate(models)
    )
    Price.objects.bulk_create(
        Price(
            deployment=deployment,
            input_nusd=1 * _NUSD_PER_USD,
            cache_read_nusd=_NUSD_PER_USD // 10,
            cache_write_nusd=1 * _NUSD_PER_USD,
            output_nusd=4 * _NUSD_PER_USD,
            effective_from=timezone.now() - timedelta(days=90 * ago),
            created_by="platform",
        )
        for deployment in deployments
        for ago in (1, 2, 3, 4)
    )
    return models


def model_name(number: int) -> str:
    """The name of one of the models."""
    return f"{provider_of(number)}-{number // len(PROVIDERS)}"


def provider_of(number: int) -> str:
    """The name of the provider of one of the models."""
    return PROVIDERS[number % len(PROVIDERS)]


def _teams(organization: Organization, departments: list[Department], number: int) -> Iterator[Team]:
    for n in range(number):
        yield Team(
            organization=organization,
            department=departments[n % len(departments)] if n % 10 else None,
            slug=f"team-{n}",
            name=f"Team {n}",
            cost_centre=f"CC-{n % 300:03}" if n % 7 == 0 else "",
            tier=_TIERS[n % len(_TIERS)],
        )


def _people(organization: Organization, departments: list[Department], teams: list[Team]) -> list[User]:
    """The watchers first; of the others, one for each three teams."""
    names = [*WATCHERS, *(f"person-{n}" for n in range(max(3, len(teams) // 3)))]
    people = User.objects.bulk_create(
        (User(username=name, email=f"{name}@example.com", is_staff=True) for name in names), _BATCH
    )
    roles: tuple[Any, ...] = ("platform_admin", "finance", "auditor")
    wide = [Membership(organization=organization, user=people[n], role=role) for n, role in enumerate(roles)]
    own = [
        Membership(organization=organization, user=people[3], role="owner", department=departments[0]),
        Membership(organization=organization, user=people[4], role="owner", team=teams[0]),
    ]
    members: list[Membership] = [
        Membership(
            organization=organization,
            user=people[len(WATCHERS) + n % (len(people) - len(WATCHERS))],
            role="owner" if n % 3 == 0 else "member",
            team=team,
        )
        for n, team in enumerate(teams)
    ]
    Membership.objects.bulk_create([*wide, *own, *members], _BATCH)
    return people


def _keys(teams: list[Team], people: list[User], number: int, dice: random.Random) -> Iterator[VirtualKey]:
    """One for each team, and the others for a few teams mostly. Their digests are of no secret that anybody has."""
    weights = list(accumulate(1 / (n + 3) for n in range(len(teams))))
    owners = [*teams, *dice.choices(teams, cum_weights=weights, k=number - len(teams))]
    for n, team in enumerate(owners):
        has_application = n % 3 == 0
        yield VirtualKey(
            id=issue_key()[0],
            team=team,
            name=f"key {n}",
            digest=secrets.token_hex(32),
            application=f"app-{n % 40}" if has_application else "",
            tags=["env=production" if n % 4 else "env=test"],
            created_by=people[n % len(people)],
            expires_at=timezone.now() + timedelta(days=n % 300) if n % 5 == 0 else None,
            revoked_at=timezone.now() if n % 29 == 28 else None,
        )


def _rules(organization: Organization, teams: list[Team], keys: list[VirtualKey], people: list[User]) -> None:
    """Budgets with the caps of months that are over, limits, extensions."""
    each: dict[str, Any] = {"organization": organization, "scope": "team"}
    budgets = Budget.objects.bulk_create(
        [
            *(
                Budget(**each, name=f"{team.name}, monthly", subject=team.slug,
                       amount=max(20, 90_000 // (n + 1)) * _NUSD_PER_USD, period="month")
                for n, team in enumerate(teams)
            ),
            *(
                Budget(organization=organization, scope="key", name=f"Key {n}, daily", subject=key.pk,
                       amount=10 * _NUSD_PER_USD, period="day", hard=False)
                for n, key in enumerate(keys[: max(1, len(teams) // 20)])
            ),
        ],
        _BATCH,
    )  # fmt: skip
    BudgetPeriod.objects.bulk_create(_past_caps(organization, budgets[: len(teams)]), _BATCH)
    Limit.objects.bulk_create(
        (
            Limit(**each, name=f"{team.name}, a minute", subject=team.slug, amount=600, unit="requests",
                  window_ms=60_000)
            for team in teams[::2]
        ),
        _BATCH,
    )  # fmt: skip
    Extension.objects.bulk_create(
        (
            Extension(budget=budget, subject=budget.subject or "", amount=50 * _NUSD_PER_USD, created_by=people[0],
                      expires_at=timezone.now() + timedelta(days=5 if n % 2 else -5), reason="A release")
            for n, budget in enumerate(budgets[: len(teams)][:: max(1, len(teams) // 1_000)])
        ),
        _BATCH,
    )  # fmt: skip


def _past_caps(organization: Organization, budgets: list[Budget]) -> Iterator[BudgetPeriod]:
    at_ms = now_ms()
    for _ in range(_MONTHS_BACK):
        this = period_at("month", at_ms, organization.zone, fiscal_month_start=organization.fiscal_month_start)
        at_ms = this.start_ms - 1
        past = period_at("month", at_ms, organization.zone, fiscal_month_start=organization.fiscal_month_start)
        for budget in budgets:
            yield BudgetPeriod(
                budget=budget, subject=budget.subject or "", name=past.name, starts_at_ms=past.start_ms,
                ends_at_ms=past.end_ms, cap=budget.amount, closed_at=timezone.now(),
            )  # fmt: skip


def _caller(key: VirtualKey, team: Team, models: int, dice: random.Random) -> Caller:
    return Caller(
        key=key.pk,
        team=team.slug,
        tier=team.tier,
        tags=tuple(sorted(key.all_tags)),
        users=dice.choice((0, 0, 0, 3, 12)),
        model_numbers=tuple(dice.randrange(models) for _ in range(3)),
    )
