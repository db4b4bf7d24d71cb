"""The policy document of an organization, built from its rows as they are now."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, get_args

from django.utils import timezone

from control_plane.budgets.models import Budget, Limit, Scoped
from control_plane.catalog.models import Deployment, Discount, Model, Provider
from control_plane.catalog.price_book import schedule
from control_plane.catalog.vendors import authentication_of, base_url_of
from control_plane.routing.selectors import aliases_by_team
from control_plane.teams.models import Team
from kong_plugins.llm import release

if TYPE_CHECKING:
    from control_plane.teams.models import Organization


def build_document(organization: Organization, *, number: int, created_by: str) -> release.PolicyDocument:
    """Everything active that gateways must know of an organization; equal rows give an equal content checksum."""
    of_organization = {"organization": organization}
    discounts = list(Discount.objects.filter(**of_organization))
    deployments = list(
        Deployment.objects.select_related("provider__organization")
        .prefetch_related("prices")
        .filter(model__organization=organization, active=True)
    )
    aliases = aliases_by_team(organization.pk)
    return release.PolicyDocument(
        organization=organization.slug,
        number=number,
        created_by=created_by,
        time_zone=organization.time_zone,
        fiscal_month_start=organization.fiscal_month_start,
        fault_tolerant_tiers=_tiers(organization.fault_tolerant_tiers),
        capless_tiers=_tiers(organization.capless_tiers),
        credentials={
            provider.credential_id: provider.sealed_credential
            for provider in Provider.objects.select_related("organization").filter(**of_organization)
        },
        deployments=tuple(_deployment(row, discounts) for row in deployments),
        models=tuple(_model(model, deployments) for model in Model.objects.filter(**of_organization)),
        teams=tuple(_team(team, aliases.get(team.pk, {})) for team in Team.objects.filter(**of_organization)),
        aliases=aliases.get(None, {}),
        regions=_rule(organization.regions),
        tier_models={tier: tuple(organization.tier_models[tier]) for tier in _tiers(organization.tier_models)},
        limits=tuple(
            map(limit_of, Limit.objects.select_related("model", "provider").filter(**of_organization, active=True))
        ),
        budgets=tuple(
            map(_budget, Budget.objects.select_related("model", "provider").filter(**of_organization, active=True))
        ),
    )


def _tiers(chosen: Collection[str]) -> tuple[release.Tier, ...]:
    return tuple(tier for tier in get_args(release.Tier) if tier in chosen)


def _deployment(row: Deployment, discounts: Collection[Discount]) -> release.Deployment:
    price, later_prices = schedule(row, discounts, timezone.now())
    return release.Deployment(
        id=row.reference,
        provider=row.provider.name,
        protocol=row.protocol,
        vendor=row.provider.vendor,
        base_url=base_url_of(row),
        authentication=authentication_of(row),
        provider_model=row.provider_model,
        credential=row.provider.credential_id,
        price=price,
        later_prices=later_prices,
        region=row.region,
        order=row.order,
        weight=row.weight,
        longest_audio_s=row.longest_audio_s,
    )


def _model(model: Model, deployments: list[Deployment]) -> release.Model:
    return release.Model(
        name=model.name,
        context_window_tokens=model.context_window_tokens,
        max_output_tokens=model.max_output_tokens,
        default_output_tokens=model.default_output_tokens,
        deployments=tuple(row.reference for row in deployments if row.model_id == model.pk),
        fall_back_to=tuple(model.fall_back_to),
        degrade_to=tuple(model.degrade_to),
    )


def _team(team: Team, aliases: dict[str, str]) -> release.Team:
    return release.Team(
        id=team.slug,
        tier=team.tier,
        models=_rule(team.allowed_models),
        providers=_rule(team.allowed_providers),
        preferred_providers=tuple(team.preferred_providers),
        regions=_rule(team.regions),
        aliases=aliases,
    )


def _rule(names: list[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)


def scope_of(row: Scoped) -> release.Scope:
    """Whom a budget or a limit is about, as gateways read it."""
    return release.Scope(
        kind=row.scope,
        subject=row.subject,
        model=row.model.name if row.model else None,
        provider=row.provider.name if row.provider else None,
        tag=row.tag,
    )


def limit_of(limit: Limit) -> release.Limit:
    """A limit as gateways read it."""
    return release.Limit(
        id=limit.reference,
        scope=scope_of(limit),
        unit=limit.unit,
        amount=limit.amount,
        window_ms=limit.window_ms,
        shadow=limit.shadow,
        queue_ms=limit.queue_ms,
        tier_shares_percent=limit.tier_shares_percent,
    )


def _budget(budget: Budget) -> release.Budget:
    return release.Budget(
        id=budget.reference,
        scope=scope_of(budget),
        unit=budget.unit,
        period=budget.period,
        hard=budget.hard,
        shadow=budget.shadow,
        thresholds_percent=tuple(budget.thresholds_percent),
        queue_ms=budget.queue_ms,
        tier_shares_percent=budget.tier_shares_percent,
        degrade_at_percent=budget.degrade_at_percent,
        each_cap=budget.amount if budget.is_for_each_user else None,
    )
