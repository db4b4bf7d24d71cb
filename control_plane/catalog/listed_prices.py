"""The list prices that the package genai-prices knows, as prices of ours. Nothing is fetched: its data lies in it.

Where that package has no rate for a kind of token, those tokens cost what their whole does, and nothing where the whole
has none either; all rates that follow so are written out. An amount that is finer than a nano-dollar per million, as
one twelfth of a dollar is, is rounded up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_CEILING, Decimal
from typing import Any, Final

import genai_prices
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ConditionalPrice, ModelInfo, ModelPrice, StartDateConstraint, TieredPrices
from genai_prices.units import _get_registry

from control_plane.catalog.price_book import normal
from control_plane.catalog.price_text import Amounts
from kong_plugins.llm.money import NUSD_PER_USD
from kong_plugins.llm.prices import MINUTES_A_DAY, PIECES_PER_PRICE
from kong_plugins.llm.usage import STANDARD_TIER

SOURCE: Final = f"genai-prices {genai_prices.__version__}"

# Its names of rates, and ours.
_TOKENS: Final = {
    "input_mtok": "input_nusd",
    "output_mtok": "output_nusd",
    "cache_read_mtok": "cache_read_nusd",
    "cache_write_mtok": "cache_write_nusd",
    "cache_write_1h_mtok": "cache_write_1h_nusd",
    "input_audio_mtok": "input_audio_nusd",
    "cache_audio_read_mtok": "cache_read_audio_nusd",
    "input_image_mtok": "input_image_nusd",
    "cache_image_read_mtok": "cache_read_image_nusd",
    "input_video_mtok": "input_video_nusd",
    "output_audio_mtok": "output_audio_nusd",
    "output_image_mtok": "output_image_nusd",
    "output_video_mtok": "output_video_nusd",
    "output_reasoning_mtok": "reasoning_nusd",
}
PIECES: Final = {
    "requests_kcount": "request",
    "web_searches_kcount": "web_search",
    "social_searches_kcount": "social_search",
    "storage_searches_kcount": "file_search",
    "rerank_searches_kcount": "search_unit",
    "code_executions_kcount": "code_execution",
    "input_mchars": "character",
    "audio_hours": "second",
    "input_audio_hours": "second",
    "output_audio_hours": "second",
    "input_document_kpages": "page",
    "input_annotated_document_kpages": "page:annotated",
    "input_text_messages_kcount": "message",
}
# What its variants are chosen by, as far as it is how a call is served.
_TIER_KEYS: Final = frozenset({"service_tier", "processing", "speed"})
_STANDARD_TIERS: Final = frozenset({STANDARD_TIER, "default"})
_NUSD: Final = Decimal(NUSD_PER_USD)


class NoListPrice(Exception):
    """There is no list price for a model, and why."""


@dataclass(frozen=True)
class ListedPrice:
    """A list price, and the instant from which on it holds; None where none is recorded."""

    since: datetime | None
    amounts: Amounts


def listed_prices(vendor: str, model_name: str) -> list[ListedPrice]:
    """What a model of a vendor, by its id in the package's data, costs and has cost, the oldest first.

    Raises:
        NoListPrice: it is not listed, or is charged by what a usage of ours does not count.
    """
    try:
        provider, model = get_snapshot().find_provider_model(model_name, None, vendor, None)
    except LookupError as error:
        raise NoListPrice(f"{model_name} is not among the list prices of {vendor}.") from error
    # As the package has it, another vendor's model has no tiers here.
    has_tiers = any(model is each for each in provider.models)
    found: list[ListedPrice] = []
    for since in (None, *sorted(_starts(model))):
        day = since or min(_starts(model), default=date(2000, 1, 2)) - timedelta(days=1)
        amounts = _amounts(model, day, has_tiers=has_tiers)
        if amounts is not None and (not found or amounts != found[-1].amounts):
            found.append(ListedPrice(datetime.combine(since, time(), UTC) if since else None, amounts))
    if not found:
        raise NoListPrice(f"{model_name} is listed without a price.")
    return found


def vendor_at(base_url: str) -> str | None:
    """The id of the vendor whose address this is; None where it is nobody's that is known."""
    try:
        return get_snapshot().find_provider(None, None, base_url).id
    except LookupError:
        return None


def _starts(model: ModelInfo) -> set[date]:
    constraints = [each.constraint for each in (*_conditional(model), *(model.price_variants or ()))]
    return {each.start_date for each in constraints if isinstance(each, StartDateConstraint)}


def _conditional(model: ModelInfo) -> list[ConditionalPrice]:
    return model.prices if isinstance(model.prices, list) else [ConditionalPrice(prices=model.prices)]


def _amounts(model: ModelInfo, day: date, *, has_tiers: bool) -> Amounts | None:
    """What a model costs on a day; None where nothing is said of it."""
    windows = _windows(model)
    outside = next(minute for minute in range(MINUTES_A_DAY) if not any(_holds(each, minute) for each in windows))
    amounts, variants = _rates_at(model, day, outside, has_tiers=has_tiers)
    if not amounts:
        return None
    for start, end in windows:
        own, others = _rates_at(model, day, start, has_tiers=has_tiers)
        if (own, others) != (amounts, variants):
            variants = variants + [each | {"from_minute": start, "until_minute": end} for each in (own, *others)]
    return normal(amounts | {"variants": variants})


def _rates_at(model: ModelInfo, day: date, minute: int, *, has_tiers: bool) -> tuple[Amounts, list[Amounts]]:
    """The standard rates at a minute of a day, and those that hold instead of them."""
    at = datetime.combine(day, time(minute // 60, minute % 60), UTC)
    prices = {STANDARD_TIER: model.get_prices(at)}
    if has_tiers:
        prices |= {tier: model.get_prices(at, when) for tier, when in _tiers(model, at)}
    amounts = _rates(prices[STANDARD_TIER], 0)
    variants = [
        {"service_tier": tier, "above_input_tokens": above} | _rates(price, above)
        for tier, price in prices.items()
        for above in (0, *_thresholds(price))
        if above or tier != STANDARD_TIER
    ]
    return amounts, variants if amounts else []


def _tiers(model: ModelInfo, at: datetime) -> Iterator[tuple[str, Mapping[str, str]]]:
    """The service tiers with rates of their own at an instant, and how the package chooses each."""
    for variant in model.price_variants or ():
        [(key, tier), *_] = variant.when.items()
        is_active = variant.constraint is None or variant.constraint.active(at)
        if is_active and key in _TIER_KEYS and tier not in _STANDARD_TIERS:
            yield tier, variant.when


def _thresholds(price: ModelPrice) -> list[int]:
    tiered = [value for value in vars(price).values() if isinstance(value, TieredPrices)]
    return sorted({tier.start for value in tiered for tier in value.tiers})


def _rates(price: ModelPrice, above: int) -> Amounts:
    """The rates of calls with more than so many input tokens, every rate written out that follows from others."""
    listed: dict[str, Decimal] = {}
    for name, value in vars(price).items():
        if value is not None:
            listed[name] = _beyond(value, above) if isinstance(value, TieredPrices) else value
    if unknown := sorted(listed.keys() - _TOKENS.keys() - PIECES.keys()):
        raise NoListPrice(f"It is charged by {', '.join(unknown)}, which is not counted: set its price by hand.")
    if not listed:
        return {}
    _write_out(listed)
    amounts: Amounts = {_TOKENS[name]: _rounded_up(usd * _NUSD) for name, usd in listed.items() if name in _TOKENS}
    units = {PIECES[name]: _piece_rate(name, usd) for name, usd in listed.items() if name in PIECES}
    return amounts | ({"unit_nusd": units} if units else {})


def _write_out(listed: dict[str, Decimal]) -> None:
    whole = listed.setdefault("input_mtok", Decimal(0))
    listed.setdefault("output_mtok", Decimal(0))
    for kind in ("audio", "image"):
        # Where what is cached has no rate, it costs what it would if it were not.
        if f"input_{kind}_mtok" in listed and "cache_read_mtok" not in listed:
            listed.setdefault(f"cache_{kind}_read_mtok", listed[f"input_{kind}_mtok"])
    listed.setdefault("cache_read_mtok", whole)
    listed.setdefault("cache_write_mtok", whole)
    listed.setdefault("cache_write_1h_mtok", listed["cache_write_mtok"])


def _beyond(value: TieredPrices, above: int) -> Decimal:
    """The rate of calls with one input token more than `above`."""
    reached = [tier.price for tier in value.tiers if tier.start <= above]
    return reached[-1] if above and reached else value.base


def _piece_rate(name: str, usd: Decimal) -> int:
    per = _get_registry().unit_for_price_key(name).per
    return _rounded_up(usd * _NUSD * PIECES_PER_PRICE / per)


def _rounded_up(amount: Decimal) -> int:
    return int(amount.to_integral_value(ROUND_CEILING))


def _windows(model: ModelInfo) -> list[tuple[int, int]]:
    """The times of day at which a model has prices of its own, in minutes."""
    windows = []
    for each in _conditional(model):
        constraint: Any = each.constraint
        if constraint is not None and not isinstance(constraint, StartDateConstraint):
            ends = (constraint.start_time, constraint.end_time)
            windows.append((ends[0].hour * 60 + ends[0].minute, ends[1].hour * 60 + ends[1].minute))
    return windows


def _holds(window: tuple[int, int], minute: int) -> bool:
    start, end = window
    return start <= minute < end if start < end else not end <= minute < start
