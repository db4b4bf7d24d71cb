"""Calls that had no price get one as soon as the price book does: by a correction, in ledger, sums and Redis alike.

A call is priced by the row that was in force at its admission, as the book has it now; where none was, by the first
that came into effect afterwards. A correction names the price and the call that it is about; the event stays as it is.
"""

from __future__ import annotations

import logging
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from django.db import connection, transaction

from control_plane.budgets.selectors import now_ms
from control_plane.catalog.models import Deployment, Discount
from control_plane.catalog.price_book import charged_at
from control_plane.ledger.ingest import take, wait_for_turn
from control_plane.ledger.rows import REPRICED, instant_of
from control_plane.ledger.statements import statement
from control_plane.teams.models import Organization
from kong_plugins.llm.errors import StoreUnavailable
from kong_plugins.llm.events import UsageEvent
from kong_plugins.llm.prices import Bounds, Price, cost_nusd, worst_cost_nusd
from kong_plugins.llm.usage import STANDARD_TIER, Usage

logger = logging.getLogger(__name__)

_REQUESTS_AT_ONCE: Final = 200
# The outcome of a correction of what another has priced: a truth has come after it.
_CORRECTED: Final = "corrected"
_COUNTS: Final = tuple(name for name in Usage.__struct_fields__ if name != "units")
# What a correction has in common with the call that it is about.
_FACTS: Final = (
    *("request_id", "organization", "team", "key", "user", "tags", "tier", "protocol", "provider", "deployment"),
    *("region", "request_model", "response_model", "service_tier", "release", "seq"),
)
_MILLISECOND: Final = timedelta(milliseconds=1)


def reprice_all() -> None:
    """Correct the calls of every organization; where Redis is away, those of an organization have to wait."""
    for organization in Organization.objects.all():
        try:
            if count := reprice(organization):
                logger.info("%s: %d calls without a price have got one", organization.slug, count)
        except StoreUnavailable as error:
            logger.warning("%s: calls without a price stay so for now: %s", organization.slug, error)


def reprice(organization: Organization) -> int:
    """Correct every call that had no price and can have one now; return how many corrections that took.

    Raises:
        StoreUnavailable: Redis cannot be told; what was told already is not told again.
    """
    rows = Deployment.objects.select_related("model", "provider").prefetch_related("prices")
    priced = {
        each.reference: each for each in rows.filter(model__organization=organization, prices__isnull=False).distinct()
    }
    discounts = list(Discount.objects.filter(organization=organization))
    count, after_id = 0, 0
    while priced:
        with transaction.atomic():
            # No truth about a call comes in meanwhile, and no other correction of it.
            wait_for_turn(organization.slug)
            found = _unpriced(organization.slug, list(priced), after_id)
            corrections = [_correction(call, priced, discounts) for call in found]
            count += take(organization.slug, [each for each in corrections if each is not None])
        if len(found) < _REQUESTS_AT_ONCE:
            break
        after_id = found[-1]["id"]
    return count


def _unpriced(organization: str, deployments: list[str], after_id: int) -> list[dict[str, Any]]:
    asked: dict[str, Any] = {
        "organization": organization,
        "deployments": deployments,
        "after_id": after_id,
        "most": _REQUESTS_AT_ONCE,
    }
    with connection.cursor() as cursor:
        cursor.execute(statement("unpriced_requests"), asked)
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _correction(call: dict[str, Any], priced: dict[str, Deployment], discounts: list[Discount]) -> UsageEvent | None:
    """The event that gives a call its price; None where the price does not know what its tier costs."""
    found: list[dict[str, Any]] = msgspec.json.decode(call["events"])
    events = [each for each in found if each["outcome"] not in (REPRICED, _CORRECTED)]
    origin = next(each for each in events if each["event_id"] == call["event_id"])
    reserved_at = datetime.fromisoformat(origin["reserved_at"]).astimezone(UTC)
    price = _price(priced[origin["deployment"]], discounts, reserved_at)
    tier = next((each["service_tier"] for each in reversed(events) if each["service_tier"]), STANDARD_TIER)
    if price.unknown_tiers((tier,)):
        return None
    amount_nusd, quality = _amount(price, events, tier)
    facts = {name: origin[name] for name in _FACTS if origin[name] not in ("", None)}
    correction = {
        "id": f"{origin['request_id']}:r{len(events)}",
        "kind": "adjusted",
        "outcome": REPRICED if len(events) == len(found) else _CORRECTED,
        "amount_nusd": amount_nusd - sum(each["amount_nusd"] or 0 for each in found),
        "quality": quality,
        "price_version": price.version,
        "reserved_at_ms": _milliseconds(reserved_at),
        "posted_at_ms": now_ms(),
        "uncounted": True,
    }
    return msgspec.convert(facts | correction, UsageEvent)


def _price(deployment: Deployment, discounts: list[Discount], at: datetime) -> Price:
    price = charged_at(deployment, discounts, at)
    if price is None:
        first = min(row.effective_from for row in deployment.prices.all())
        price = charged_at(deployment, discounts, first)
    assert price is not None, "the deployment has a price"
    return price.at(_milliseconds(at))


def _amount(price: Price, events: list[dict[str, Any]], tier: str) -> tuple[int, str]:
    """What a call costs by the sum of its events' counts, and how well that is known. Where the bound of its input was
    recorded, and not a count, it is charged as a bound."""
    usage = Usage(
        **{name: sum(each[name] for each in events) for name in _COUNTS},
        units=dict(sum((Counter(each["units"]) for each in events), Counter())),
    )
    if usage.input_tokens and usage.input_tokens == events[0]["input_bound_tokens"]:
        bounds = Bounds(input_tokens=usage.input_tokens, units=usage.units, service_tiers=(tier,))
        return worst_cost_nusd(price, bounds, output_tokens=usage.output_tokens), "upper_bound"
    return cost_nusd(price, usage, tier), "exact"


def _milliseconds(at: datetime) -> int:
    return (at - instant_of(0)) // _MILLISECOND
