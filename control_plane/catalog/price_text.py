"""A price as lines of text, as people read and write it: `cache_read 0.25`, `each web_search 0.01`,
`priority above 272000: output 45`, `16:30-00:30: input 0.135`.

Amounts are US dollars: per million tokens of a kind, or for `each` piece. What stands before a colon says for which
calls a line holds: those of a service tier, those with more than so many input tokens, those of a time of day (UTC).
What no line names for them costs what it always does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final

from control_plane.amounts import usd_from_text, usd_text
from kong_plugins.llm.money import NUSD_PER_USD, nusd_from_usd, whole_product
from kong_plugins.llm.prices import PIECES_PER_PRICE, TOKEN_RATES, Price, Rates, Variant
from kong_plugins.llm.usage import STANDARD_TIER

# What may be priced, by the word that stands for it.
KINDS: Final = {name.removesuffix("_nusd"): name for name in TOKEN_RATES}
_CALLS: Final = re.compile(
    r"(?P<tier>(?!above\b)[a-z][a-z0-9_]{0,31})?\s*(?:above (?P<above>\d{1,12}))?\s*(?:(?P<from>\S+)-(?P<until>\S+))?"
)
_MINUTE: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")
# The name of a piece, such as image:high:1024x1024.
PIECE_NAME: Final = re.compile(r"[a-z][a-z0-9_]*(?::[A-Za-z0-9_.-]+)*")

# The keyword arguments of a `Price`, as JSON has them.
Amounts = dict[str, Any]


def lines_of(price: Price) -> list[str]:
    """The price, a line for each of its rates."""
    usual = _own_rates(price)
    lines = [_line(name, rate) for name, rate in usual.items()]
    for variant in sorted(price.variants, key=_place):
        calls = _calls_text(variant)
        # What neither of the two names follows from what they do name; what only the variant names need not.
        named = {**usual, **_own_rates(variant)}
        own = _rates_of(variant, named)
        names = [name for name in named if own[name] != usual.get(name)]
        lines += [f"{calls}: {_line(name, own[name])}" for name in names or ["input"]]
    return lines


def amounts_from(lines: Iterable[str]) -> Amounts:
    """The price that lines describe.

    Raises:
        ValueError: saying what is wrong with which line.
    """
    rates: dict[str, dict[str, int]] = {"": {}}
    for line in filter(None, (line.strip() for line in lines)):
        calls, _, rest = line.rpartition(": ")
        name, rate = _rate_of(rest, line)
        of_calls = rates.setdefault(" ".join(calls.split()), {})
        if of_calls.setdefault(name, rate) != rate:
            raise ValueError(f"“{line}”: there is another line for the same.")
    always = rates.pop("")
    variants = [_calls_of(calls) | _as_amounts({**always, **own}) for calls, own in rates.items()]
    return _as_amounts(always) | ({"variants": variants} if variants else {})


def piece_usd_text(rate_nusd: int) -> str:
    """What a piece costs in US dollars, exact, where a million of them cost so many nano-USD."""
    text = f"{Decimal(rate_nusd) / (NUSD_PER_USD * PIECES_PER_PRICE):f}"
    whole, _, rest = text.partition(".")
    return f"{whole}.{rest.rstrip('0'):0<2}"


def piece_rate_from(amount_usd: Decimal) -> int:
    """The nano-USD that a million pieces cost of which one costs so many US dollars.

    Raises:
        ValueError: the amount is negative, not finite, or finer than 15 decimal places.
    """
    rate_nusd = whole_product(amount_usd, NUSD_PER_USD * PIECES_PER_PRICE) if amount_usd.is_finite() else None
    if rate_nusd is None or rate_nusd < 0:
        raise ValueError("What a piece costs is not negative, and has at most 15 decimal places.")
    return rate_nusd


def minute_text(minute: int) -> str:
    """A minute of the day, such as 16:30."""
    return f"{minute // 60:02}:{minute % 60:02}"


def minute_from(text: str) -> int:
    """Raises: ValueError: it is no time of day such as 16:30."""
    found = _MINUTE.fullmatch(text)
    if found is None:
        raise ValueError(f"“{text}” is no time of day such as 16:30.")
    return int(found[1]) * 60 + int(found[2])


def _own_rates(rates: Rates) -> dict[str, int]:
    of_tokens = {kind: getattr(rates, name) for kind, name in KINDS.items()}
    of_pieces = {f"each {name}": rate for name, rate in sorted(rates.unit_nusd.items())}
    return {kind: rate for kind, rate in of_tokens.items() if rate is not None} | of_pieces


def _rates_of(rates: Rates, names: Iterable[str]) -> dict[str, int]:
    """What these cost, also those whose rates follow from others."""
    wholes = {
        "cache_write_1h": rates.hour_write_nusd,
        **dict.fromkeys(("input_audio", "input_image", "input_video"), rates.input_nusd),
        **dict.fromkeys(("cache_read_audio", "cache_read_image"), rates.cache_read_nusd),
        **dict.fromkeys(("output_audio", "output_image", "output_video", "reasoning"), rates.output_nusd),
    }
    of_pieces = {name: rates.piece_nusd(name.removeprefix("each ")) for name in names if name.startswith("each ")}
    return wholes | _own_rates(rates) | of_pieces


def _line(name: str, rate_nusd: int) -> str:
    return f"{name} {piece_usd_text(rate_nusd) if name.startswith('each ') else usd_text(rate_nusd)}"


def _place(variant: Variant) -> tuple[Any, ...]:
    is_other_tier = variant.service_tier != STANDARD_TIER
    return variant.window or (-1, -1), is_other_tier, variant.service_tier, variant.above_input_tokens


def _calls_text(variant: Variant) -> str:
    words = [variant.service_tier] if variant.service_tier != STANDARD_TIER else []
    words += [f"above {variant.above_input_tokens}"] if variant.above_input_tokens else []
    words += ["-".join(map(minute_text, variant.window))] if variant.window else []
    return " ".join(words)


def _calls_of(text: str) -> Amounts:
    found = _CALLS.fullmatch(text)
    if found is None:
        raise ValueError(f"“{text}:” does not say which calls: such as priority, above 200000, or 16:30-00:30.")
    calls: Amounts = {"service_tier": found["tier"] or STANDARD_TIER, "above_input_tokens": int(found["above"] or 0)}
    if found["from"]:
        calls |= {"from_minute": minute_from(found["from"]), "until_minute": minute_from(found["until"])}
    return calls


def _rate_of(text: str, line: str) -> tuple[str, int]:
    *words, usd = text.split() or [""]
    name = " ".join(words)
    is_piece = name.startswith("each ") and PIECE_NAME.fullmatch(name.removeprefix("each ")) is not None
    if not is_piece and name not in KINDS:
        raise ValueError(f"“{line}”: say what costs how much, such as output 10, or each web_search 0.01.")
    try:
        amount_usd = usd_from_text(usd)
        return name, piece_rate_from(amount_usd) if is_piece else nusd_from_usd(amount_usd)
    except ValueError as error:
        raise ValueError(f"“{line}”: {usd} is no amount in US dollars that can be kept exactly.") from error


def _as_amounts(rates: dict[str, int]) -> Amounts:
    amounts: Amounts = {KINDS[name]: rate for name, rate in rates.items() if name in KINDS}
    units = {name.removeprefix("each "): rate for name, rate in rates.items() if name not in KINDS}
    return amounts | ({"unit_nusd": units} if units else {})
