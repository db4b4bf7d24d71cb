"""The price book: what a deployment charges, from when on, and what is taken off that by agreement.

A row is never changed; a newer one comes into effect. Gateways get what is in force and all that will be, so that a
price of the future takes effect at its instant without a release in between.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final, TypeVar

import msgspec
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from control_plane.catalog.models import MAX_PRICE_NUSD, Deployment, Discount, Price, Provider
from control_plane.catalog.price_text import PIECE_NAME, Amounts
from control_plane.live import announce_change
from control_plane.rows import create_row
from kong_plugins.llm import prices

_WHOLE_BASIS_POINTS: Final = 10_000
# Nobody charged for tokens before; a later year is an entry error.
_YEARS: Final = range(2000, 2200)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_AnyRates = TypeVar("_AnyRates", bound=prices.Rates)


def price_of(amounts: Amounts, *, version: str = "") -> prices.Price:
    """The price with these rates.

    Raises:
        ValidationError: for `price`.
    """
    try:
        price = msgspec.convert({"version": version, **amounts}, prices.Price)
    except ValueError as error:
        raise ValidationError({"price": str(error)}) from error
    for rates in (price, *price.variants):
        _check(rates)
    return price


def normal(amounts: Amounts) -> Amounts:
    """The same rates, written in the one way in which they can be compared."""
    written: Amounts = msgspec.json.decode(msgspec.json.encode(price_of(amounts)))
    del written["version"]
    return written


@transaction.atomic
def set_price(deployment_id: int, amounts: Amounts, *, actor: str, effective_from: datetime | None = None) -> Price:
    """Add a row to the price book, in effect from now or from the given instant; an equal price adds none.

    Raises:
        ValidationError: by field.
    """
    deployment = Deployment.objects.select_for_update(of=("self",)).select_related("model").get(pk=deployment_id)
    starts_at = effective_from or timezone.now()
    _check_instant(starts_at)
    before = Price.objects.filter(deployment=deployment, effective_from__lte=starts_at).first()
    if before is not None and before.amounts == normal(amounts):
        return before
    row = add_row(deployment, amounts, effective_from=starts_at, actor=actor)
    announce_change(deployment.model.organization_id, actor=actor)
    return row


def add_row(
    deployment: Deployment, amounts: Amounts, *, effective_from: datetime, actor: str, source: str = "manual"
) -> Price:
    """Add a row, and leave it to the caller to say so.

    Raises:
        ValidationError: by field.
    """
    values = normal(amounts)
    row = Price(deployment=deployment, effective_from=effective_from, created_by=actor, source=source)
    for name in Price.COLUMNS:
        setattr(row, name, values.pop(name, None))
    row.further = values
    return create_row(row)


@transaction.atomic
def set_discount(
    *,
    organization_id: int,
    percent: Decimal,
    actor: str,
    provider: Provider | None = None,
    deployment: Deployment | None = None,
    effective_from: datetime | None = None,
) -> Discount:
    """Agree on what is taken off all prices, those of a provider, or those of one deployment, from an instant on.

    Raises:
        ValidationError: by field.
    """
    if provider is not None and provider.organization_id != organization_id:
        raise ValidationError({"provider": "The provider belongs to another organization."})
    if deployment is not None and deployment.model.organization_id != organization_id:
        raise ValidationError({"deployment": "The deployment belongs to another organization."})
    starts_at = effective_from or timezone.now()
    _check_instant(starts_at)
    row = create_row(
        Discount(
            organization_id=organization_id,
            provider=provider,
            deployment=deployment,
            percent=percent,
            effective_from=starts_at,
            created_by=actor,
        )
    )
    announce_change(organization_id, actor=actor)
    return row


def charged_at(deployment: Deployment, discounts: Collection[Discount], at: datetime) -> prices.Price | None:
    """What a call to a deployment is charged that is admitted at an instant; `discounts` are the organization's."""
    row = next((price for price in deployment.prices.all() if price.effective_from <= at), None)
    if row is None:
        return None
    discount = discount_at(deployment, discounts, at)
    price = price_of(row.amounts, version=row.version)
    return price if discount is None else _discounted(price, discount)


def discount_at(deployment: Deployment, discounts: Collection[Discount], at: datetime) -> Discount | None:
    """The discount in force on a deployment: its own, else its provider's, else the organization's."""
    found = [each for each in discounts if each.effective_from <= at and each.concerns(deployment)]
    return max(found, key=lambda each: (each.narrowness, each.effective_from, each.pk), default=None)


def schedule(
    deployment: Deployment, discounts: Collection[Discount], now: datetime
) -> tuple[prices.Price | None, tuple[prices.LaterPrice, ...]]:
    """What a deployment charges now, and all that it will from later instants on."""
    instants = {price.effective_from for price in deployment.prices.all()}
    instants |= {each.effective_from for each in discounts if each.concerns(deployment)}
    later: list[prices.LaterPrice] = []
    current = before = charged_at(deployment, discounts, now)
    for at in sorted(instant for instant in instants if instant > now):
        price = charged_at(deployment, discounts, at)
        if price is not None and price != before:
            # Instants are kept to the microsecond, and no price is in effect before its own.
            from_ms = -((_EPOCH - at) // timedelta(milliseconds=1))
            later.append(prices.LaterPrice(from_ms=from_ms, price=price))
            before = price
    return current, tuple(later)


def _check_instant(effective_from: datetime) -> None:
    if effective_from.year not in _YEARS:
        raise ValidationError({"effective_from": f"Give a year from {_YEARS[0]} to {_YEARS[-1]}."})


def _check(rates: prices.Rates) -> None:
    of_tokens = [getattr(rates, name) or 0 for name in prices.TOKEN_RATES]
    for amounts, one in ((of_tokens, "token"), (rates.unit_nusd.values(), "piece")):
        if max(amounts, default=0) > MAX_PRICE_NUSD:
            complaint = f"A price of more than a thousand dollars for one {one} is an entry error."
            raise ValidationError({"price": complaint})
    if unknown := [name for name in rates.unit_nusd if PIECE_NAME.fullmatch(name) is None]:
        raise ValidationError({"price": f"{unknown[0]!r} is no name of a piece, such as web_search."})


def _discounted(price: prices.Price, discount: Discount) -> prices.Price:
    """The price with so much taken off each rate; what is finer than a nano-dollar per million is rounded up."""
    if not discount.basis_points:
        return price
    left = _WHOLE_BASIS_POINTS - discount.basis_points
    variants = tuple(_times(variant, left) for variant in price.variants)
    version = f"{price.version}-{discount.pk}"
    return msgspec.structs.replace(_times(price, left), version=version, variants=variants)


def _times(rates: _AnyRates, basis_points: int) -> _AnyRates:
    def part(rate_nusd: int) -> int:
        return -(-rate_nusd * basis_points // _WHOLE_BASIS_POINTS)

    of_tokens = {name: part(rate) for name in prices.TOKEN_RATES if (rate := getattr(rates, name)) is not None}
    return msgspec.structs.replace(
        rates, **of_tokens, unit_nusd={name: part(rate) for name, rate in rates.unit_nusd.items()}
    )
