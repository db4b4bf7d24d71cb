"""What a call costs, in the provider's own arithmetic: exact decimals, rounded up once to a nano-dollar."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal, localcontext

from demo.catalog import PriceList

_TOKENS_PER_PRICE = Decimal(1_000_000)
_NUSD_PER_USD = Decimal(1_000_000_000)


def amount_nusd(
    price: PriceList,
    *,
    input_tokens: int,
    cache_read_tokens: int,
    output_tokens: int,
    cache_write_tokens: int = 0,
    cache_write_1h_tokens: int = 0,
    input_audio_tokens: int = 0,
    input_image_tokens: int = 0,
    pieces: Mapping[str, int] | None = None,
) -> int:
    """The bill of one call in nano-USD, with its pieces; what the cache read, wrote, and wrote for an hour, and the
    tokens of sounds and pictures, each by itself, is part of `input_tokens`."""
    cache_tokens = cache_read_tokens + cache_write_tokens + cache_write_1h_tokens
    plain_tokens = input_tokens - cache_tokens - input_audio_tokens - input_image_tokens
    with localcontext(prec=60):
        usd = (
            plain_tokens * Decimal(price.input_usd_per_mtok)
            + input_audio_tokens * Decimal(price.input_audio_usd_per_mtok or price.input_usd_per_mtok)
            + input_image_tokens * Decimal(price.input_image_usd_per_mtok or price.input_usd_per_mtok)
            + cache_read_tokens * Decimal(price.cache_read_usd_per_mtok)
            + cache_write_tokens * Decimal(price.cache_write_usd_per_mtok)
            + cache_write_1h_tokens * Decimal(price.cache_write_1h_usd_per_mtok or 0)
            + output_tokens * Decimal(price.output_usd_per_mtok)
        ) / _TOKENS_PER_PRICE
        usd += sum(count * Decimal(price.usd_per_piece.get(name, 0)) for name, count in (pieces or {}).items())
        return int((usd * _NUSD_PER_USD).to_integral_value(ROUND_CEILING))
