"""Prices: integer nano-USD per million tokens or pieces, and the functions that turn usage, and its bounds, into money.

A whole call is charged at one set of rates: that of the service tier at which it was served, and of the number of its
input tokens. So do the providers, whose long prompts are dearer from the first token on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

import msgspec

from kong_plugins.llm.usage import STANDARD_TIER, Usage

PIECES_PER_PRICE: Final = 1_000_000
# The piece of which every call has one.
REQUEST_UNIT: Final = "request"
# https://docs.anthropic.com/en/docs/build-with-claude/prompt-caching#pricing
_HOUR_WRITE_TIMES_INPUT: Final = 2
# Tiers that never cost more than the standard one, whose rates do for them where a price does not name them:
# https://platform.openai.com/docs/guides/flex-processing, https://platform.openai.com/docs/guides/batch
_NEVER_DEARER_TIERS: Final = frozenset({STANDARD_TIER, "flex", "batch"})
_MINUTE_MS: Final = 60_000
MINUTES_A_DAY: Final = 1_440


class Rates(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What is charged, in nano-USD per million tokens of each kind, and per million pieces of each of `unit_nusd`.

    What is written into a cache for an hour may cost more than what stays there for minutes; without a rate of its own
    it costs what Anthropic takes, twice the input, and never less than other writes. Any other kind without a rate of
    its own costs what its whole does: audio what input does, cached audio what is cached, reasoning what output does.

    A piece such as `image:high:1024x1024` has its own rate, or that of `image:high`, or that of `image`; a piece that
    has none is free.
    """

    input_nusd: int
    cache_read_nusd: int
    cache_write_nusd: int
    output_nusd: int
    cache_write_1h_nusd: int | None = None
    input_audio_nusd: int | None = None
    cache_read_audio_nusd: int | None = None
    input_image_nusd: int | None = None
    cache_read_image_nusd: int | None = None
    input_video_nusd: int | None = None
    output_audio_nusd: int | None = None
    output_image_nusd: int | None = None
    output_video_nusd: int | None = None
    reasoning_nusd: int | None = None
    unit_nusd: dict[str, int] = {}

    def __post_init__(self) -> None:
        of_tokens = (getattr(self, name) for name in TOKEN_RATES)
        if min(*(rate for rate in of_tokens if rate is not None), *self.unit_nusd.values()) < 0:
            raise ValueError("a price cannot be negative")

    @property
    def hour_write_nusd(self) -> int:
        """The rate of a token that is written into the provider's cache for an hour."""
        if self.cache_write_1h_nusd is not None:
            return self.cache_write_1h_nusd
        return max(_HOUR_WRITE_TIMES_INPUT * self.input_nusd, self.cache_write_nusd)

    def dearest_input_nusd(self, *, writes_1h: bool = False, has_media: bool = False) -> int:
        """The rate that any input token costs at most, whatever the provider's cache does with it; into which only
        a call that `writes_1h` writes for an hour. Only one that `has_media` reads anything but text."""
        dearest = max(self.input_nusd, self.cache_read_nusd, self.cache_write_nusd)
        if has_media:
            dearest = max(dearest, self._dearest_of(_MEDIA_INPUT_RATES))
        return max(dearest, self.hour_write_nusd) if writes_1h else dearest

    @property
    def dearest_output_nusd(self) -> int:
        """The rate that any output token costs at most."""
        return max(self.output_nusd, self._dearest_of(_OWN_OUTPUT_RATES))

    def _dearest_of(self, names: tuple[str, ...]) -> int:
        return max(getattr(self, name) or 0 for name in names)

    def unknown_pieces(self, names: Iterable[str]) -> tuple[str, ...]:
        """Those of these pieces that have no rate, and are of a kind of which others have one."""
        kinds = {name.partition(":")[0] for name in self.unit_nusd}
        return tuple(name for name in names if name.partition(":")[0] in kinds and not self.has_rate(name))

    def has_rate(self, name: str) -> bool:
        """Whether a kind of piece, or a finer or coarser one of it, has a rate."""
        return any(f"{name}:".startswith(f"{rated}:") or rated.startswith(f"{name}:") for rated in self.unit_nusd)

    def piece_nusd(self, name: str) -> int:
        """The rate of a kind of piece."""
        while name not in self.unit_nusd and ":" in name:
            name = name.rpartition(":")[0]
        return self.unit_nusd.get(name, 0)

    def dearest_piece_nusd(self, name: str) -> int:
        """The rate that a piece costs at most of which only this much of its name is known."""
        finer = (rate for other, rate in self.unit_nusd.items() if other.startswith(f"{name}:"))
        return max(self.piece_nusd(name), *finer, 0)


TOKEN_RATES: Final = tuple(name for name in Rates.__struct_fields__ if name != "unit_nusd")
_MEDIA_INPUT_RATES: Final = (
    *("input_audio_nusd", "cache_read_audio_nusd", "input_image_nusd", "cache_read_image_nusd"),
    "input_video_nusd",
)
_OWN_OUTPUT_RATES: Final = ("output_audio_nusd", "output_image_nusd", "output_video_nusd", "reasoning_nusd")


class Variant(Rates, frozen=True, kw_only=True, omit_defaults=True):
    """The rates of calls at one service tier, or of those with more than so many input tokens, or both.

    With a time of day (minutes of the day in UTC, `until_minute` not included, maybe past midnight) they hold for calls
    that are admitted then, of whichever tier has no rates of its own for that time.
    """

    service_tier: str = STANDARD_TIER
    above_input_tokens: int = 0
    from_minute: int | None = None
    until_minute: int | None = None

    @property
    def is_standard(self) -> bool:
        return self.service_tier == STANDARD_TIER and not self.above_input_tokens

    @property
    def window(self) -> tuple[int, int] | None:
        """The time of day, if the rates are those of one."""
        if self.from_minute is None or self.until_minute is None:
            return None
        return self.from_minute, self.until_minute


class Price(Rates, frozen=True, kw_only=True, omit_defaults=True):
    """What one deployment charges: its standard rates, and the `variants` that hold instead of them.

    `version` names the row of the price book, so that every ledger row can be re-rated. A tier without variants of its
    own is charged as the standard one.
    """

    version: str
    variants: tuple[Variant, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_variants(self.variants)

    def unknown_tiers(self, service_tiers: Iterable[str]) -> tuple[str, ...]:
        """Those of these tiers of which it does not say what a call costs that one serves."""
        named = {variant.service_tier for variant in self.variants}
        return tuple(tier for tier in service_tiers if tier not in _NEVER_DEARER_TIERS and tier not in named)

    def charges_for(self, names: Iterable[str]) -> bool:
        """Whether any of these kinds of pieces may cost something."""
        return any(rates.has_rate(name) for rates in (self, *self.variants) for name in names)

    def at(self, at_ms: int) -> Price:
        """The price of calls that are admitted at an instant: without times of day."""
        windows = {variant.window for variant in self.variants} - {None}
        if not windows:
            return self
        window = next((each for each in windows if each is not None and _holds(each, at_ms)), None)
        found = [variant for variant in self.variants if variant.window == window]
        standard = next((variant for variant in found if variant.window and variant.is_standard), None)
        rates = {name: getattr(standard or self, name) for name in Rates.__struct_fields__}
        kept = tuple(
            msgspec.structs.replace(variant, from_minute=None, until_minute=None)
            for variant in found
            if variant is not standard
        )
        return Price(version=self.version, variants=kept, **rates)

    def rates(self, service_tier: str, input_tokens: int) -> Rates:
        """The rates of a call that was served at a tier and has read so many tokens."""
        return next(rates for rates, above, _ in self._steps(service_tier) if not above or above < input_tokens)

    def dearest_rates(self, bounds: Bounds) -> Iterator[tuple[Rates, int]]:
        """All rates that a call within the bounds can land on, each with the most input tokens that it has then."""
        for tier in bounds.service_tiers:
            for rates, above, most in self._steps(tier):
                if not above or above < bounds.input_tokens:
                    yield rates, bounds.input_tokens if most is None else min(bounds.input_tokens, most)

    def _steps(self, service_tier: str) -> Iterator[tuple[Rates, int, int | None]]:
        """A tier's rates from the longest prompts on: above how many input tokens they hold, and up to how many."""
        own: dict[int, Rates] = {
            variant.above_input_tokens: variant for variant in self.variants if variant.service_tier == service_tier
        }
        if service_tier == STANDARD_TIER:
            own[0] = self
        elif not own:
            yield from self._steps(STANDARD_TIER)
            return
        most: int | None = None
        for above in sorted(own, reverse=True):
            yield own[above], above, most
            most = above


class LaterPrice(msgspec.Struct, frozen=True, kw_only=True):
    """A price that comes into effect at an instant, in Unix milliseconds."""

    from_ms: int
    price: Price


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """The most that one call can be billed for beside its output: its input tokens, `units` of each kind of piece, at
    any of these service tiers. `writes_1h`: input may be cached for an hour; `has_media`: it may be other than text."""

    input_tokens: int
    writes_1h: bool = False
    has_media: bool = False
    units: dict[str, int] = {}
    service_tiers: tuple[str, ...] = (STANDARD_TIER,)


def check_variants(variants: tuple[Variant, ...]) -> None:
    """Raises: ValueError: two hold at once, or one of them for no call at all."""
    places = set()
    for each in variants:
        if each.above_input_tokens < 0 or (each.from_minute is None) != (each.until_minute is None):
            raise ValueError("a variant begins above some number of tokens, and a time of day has two ends")
        if each.window and not (each.window[0] != each.window[1] and set(each.window) <= set(range(MINUTES_A_DAY))):
            raise ValueError("a time of day has two different ends within the day")
        if each.is_standard and not each.window:
            raise ValueError("the standard rates are the price itself, not a variant of it")
        places.add((each.service_tier, each.above_input_tokens, each.window))
    if len(places) != len(variants):
        raise ValueError("two variants of a price hold for the same calls")
    if any(tier != STANDARD_TIER and above and (tier, 0, window) not in places for tier, above, window in places):
        raise ValueError("a tier with rates for long prompts needs rates for the others too")


def cost_nusd(price: Price, usage: Usage, service_tier: str = STANDARD_TIER) -> int:
    """The cost of one call in nano-USD: ⌈Σ count · rate / 10⁶⌉, rounded up once for the whole call."""
    rates = price.rates(service_tier, usage.input_tokens)
    scaled = _input_cost(rates, usage) + _output_cost(rates, usage) + _pieces_cost(rates, usage.units, rates.piece_nusd)
    return -(-scaled // PIECES_PER_PRICE)


def worst_cost_nusd(price: Price, bounds: Bounds, *, output_tokens: int) -> int:
    """The most that a call with these bounds can cost, in nano-USD."""
    scaled = max(
        _most_fixed_cost(rates, bounds, input_tokens) + output_tokens * rates.dearest_output_nusd
        for rates, input_tokens in price.dearest_rates(bounds)
    )
    return -(-scaled // PIECES_PER_PRICE)


def affordable_output_tokens(price: Price, bounds: Bounds, *, amount_nusd: int) -> int | None:
    """How many output tokens `amount_nusd` pays for after everything else; None where output costs nothing.

    Negative where the amount does not even pay for the rest.
    """
    affordable: list[int] = []
    for rates, input_tokens in price.dearest_rates(bounds):
        left = amount_nusd * PIECES_PER_PRICE - _most_fixed_cost(rates, bounds, input_tokens)
        if rates.dearest_output_nusd:
            affordable.append(left // rates.dearest_output_nusd)
        elif left < 0:
            affordable.append(-1)
    return min(affordable, default=None)


def _input_cost(rates: Rates, usage: Usage) -> int:
    """Input, each token at one rate. Where it is not told what of the audio, images and video was in the cache, as
    much of them is not as there is input that was not."""
    cached_audio_tokens, cached_image_tokens = usage.cache_read_audio_tokens, usage.cache_read_image_tokens
    cached_tokens = usage.cache_read_tokens - cached_audio_tokens - cached_image_tokens
    fresh_tokens = usage.input_tokens - usage.cache_read_tokens - usage.cache_write_tokens
    audio_tokens = min(usage.input_audio_tokens - cached_audio_tokens, fresh_tokens)
    image_tokens = min(usage.input_image_tokens - cached_image_tokens, fresh_tokens - audio_tokens)
    video_tokens = min(usage.input_video_tokens, fresh_tokens - audio_tokens - image_tokens)
    return (
        cached_tokens * rates.cache_read_nusd
        + cached_audio_tokens * _or(rates.cache_read_audio_nusd, rates.cache_read_nusd)
        + cached_image_tokens * _or(rates.cache_read_image_nusd, rates.cache_read_nusd)
        + (usage.cache_write_tokens - usage.cache_write_1h_tokens) * rates.cache_write_nusd
        + usage.cache_write_1h_tokens * rates.hour_write_nusd
        + audio_tokens * _or(rates.input_audio_nusd, rates.input_nusd)
        + image_tokens * _or(rates.input_image_nusd, rates.input_nusd)
        + video_tokens * _or(rates.input_video_nusd, rates.input_nusd)
        + (fresh_tokens - audio_tokens - image_tokens - video_tokens) * rates.input_nusd
    )


def _output_cost(rates: Rates, usage: Usage) -> int:
    """Output, each token at one rate; reasoning is never audio, an image or video."""
    media_tokens = usage.output_audio_tokens + usage.output_image_tokens + usage.output_video_tokens
    reasoning_tokens = min(usage.reasoning_tokens, usage.output_tokens - media_tokens)
    return (
        (usage.output_tokens - media_tokens - reasoning_tokens) * rates.output_nusd
        + reasoning_tokens * _or(rates.reasoning_nusd, rates.output_nusd)
        + usage.output_audio_tokens * _or(rates.output_audio_nusd, rates.output_nusd)
        + usage.output_image_tokens * _or(rates.output_image_nusd, rates.output_nusd)
        + usage.output_video_tokens * _or(rates.output_video_nusd, rates.output_nusd)
    )


def _most_fixed_cost(rates: Rates, bounds: Bounds, input_tokens: int) -> int:
    """The most that everything but the output costs at these rates, times 10⁶."""
    dearest_nusd = rates.dearest_input_nusd(writes_1h=bounds.writes_1h, has_media=bounds.has_media)
    return input_tokens * dearest_nusd + _pieces_cost(rates, bounds.units, rates.dearest_piece_nusd)


def _pieces_cost(rates: Rates, units: Mapping[str, int], rate_of: Callable[[str], int]) -> int:
    """What the pieces cost, times 10⁶, and the call itself, which is one."""
    if not rates.unit_nusd:
        return 0
    return sum(count * rate_of(name) for name, count in ({REQUEST_UNIT: 1} | dict(units)).items())


def _or(rate_nusd: int | None, whole_nusd: int) -> int:
    return whole_nusd if rate_nusd is None else rate_nusd


def _holds(window: tuple[int, int], at_ms: int) -> bool:
    """Whether an instant lies in a time of day, which may go past midnight."""
    start, end = window
    minute = at_ms // _MINUTE_MS % MINUTES_A_DAY
    return start <= minute < end if start < end else not end <= minute < start
