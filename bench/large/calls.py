"""The ledger's rows of the large organization: calls of the last days by day and week as offices make them, copied in
as they happened. A few teams and keys make most of them. Drawn with a fixed seed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any, Final

from django.db import connection

from bench.large.organization import SLUG, Caller, model_name, provider_of
from control_plane.ledger.partitions import ensure_months

_SEED: Final = 6
# The share of a day's calls in each hour of UTC, and of a week's on each day.
_HOURS: Final = (2, 1, 1, 1, 1, 3, 6, 9, 11, 12, 12, 11, 9, 10, 11, 11, 9, 7, 5, 4, 3, 3, 2, 2)
_WEEKDAYS: Final = (10, 11, 11, 11, 10, 4, 3)
_COLUMNS: Final = (
    *("event_id", "request_id", "kind", "outcome", "http_status", "organization", "team", "key", '"user"', "tags"),
    *("tier", "protocol", "provider", "deployment", "region", "request_model", "response_model", "input_tokens"),
    *("cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens", "quality", "amount_nusd"),
    *("hold_nusd", "price_version", "candidates", "refusing_scope", "seq", "reserved_at", "posted_at", "latency_ms"),
    *("first_token_ms", "trace_id", "degraded_from", "shadow_refusals"),
)
_COPY: Final = f"COPY ledger_usageevent ({', '.join(_COLUMNS)}) FROM STDIN"
# What becomes of so many of a thousand calls.
_ENDS: Final = {
    "completed": 958,
    "refused": 22,
    "provider_error": 8,
    "lease_expired": 2,
    "unpriced": 2,
    "shadow": 5,
    "degraded": 3,
}
_ROWS_AT_ONCE: Final = 20_000


def write_calls(callers: Sequence[Caller], rows: int, days: int, now: datetime, told: Callable[[int], Any]) -> None:
    """Copy so many calls of the days before `now` into the ledger; `told` hears how many more there are."""
    ensure_months(now - timedelta(days=number) for number in range(days + 1))
    dice = random.Random(_SEED)
    lines: list[str] = []
    with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        for number, line in enumerate(_lines(callers, rows, days, now, dice)):
            lines.append(line)
            if len(lines) == _ROWS_AT_ONCE or number == rows - 1:
                copy.write("".join(lines))
                told(len(lines))
                lines.clear()


def _lines(callers: Sequence[Caller], rows: int, days: int, now: datetime, dice: random.Random) -> Iterator[str]:
    """Every call as a line of COPY's text format, in the order in which they were made."""
    weights = list(accumulate(1 / (number + 20) for number in range(len(callers))))
    starts = list(accumulate(_of_each_hour(rows, days, now)))
    first = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=days * 24 - 1)
    ends = list(accumulate(_ENDS.values()))
    kinds = list(_ENDS)
    seq = 0
    for hour, end in enumerate(starts):
        at = first + timedelta(hours=hour)
        number = end - (starts[hour - 1] if hour else 0)
        longest = min(3600.0, (now - at).total_seconds())
        offsets = sorted(dice.random() * longest for _ in range(number))
        chosen = dice.choices(callers, cum_weights=weights, k=number)
        became = dice.choices(kinds, cum_weights=ends, k=number)
        for offset, caller, kind in zip(offsets, chosen, became, strict=True):
            seq += 1
            yield _line(caller, kind, at, offset, seq, dice.random())


def _of_each_hour(rows: int, days: int, now: datetime) -> list[int]:
    """How many calls each hour has, `rows` in all."""
    first = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=days * 24 - 1)
    hours = [first + timedelta(hours=number) for number in range(days * 24)]
    shares = [_HOURS[hour.hour] * _WEEKDAYS[hour.weekday()] for hour in hours]
    whole = list(accumulate(shares))
    ends = [rows * share // whole[-1] for share in whole]
    return [end - before for before, end in zip([0, *ends], ends, strict=False)]


def _line(caller: Caller, became: str, at: datetime, offset: float, seq: int, luck: float) -> str:
    """One call; `luck`, from 0 to 1, says what it asked for and how much."""
    small = int(luck * 1_000_003)
    number = caller.model_numbers[0 if small % 10 < 7 else 1 + small % 2]
    model, provider = model_name(number), provider_of(number)
    user = f"user-{small % caller.users}" if caller.users else ""
    reserved = at + timedelta(seconds=offset)
    latency_ms = 200 + small % 4_000
    reserved_text = reserved.astimezone(UTC).isoformat(timespec="milliseconds")
    posted_text = (reserved + timedelta(milliseconds=latency_ms)).astimezone(UTC).isoformat(timespec="milliseconds")
    is_refused, failed = became == "refused", became == "provider_error"
    input_tokens, output_tokens = (0, 0) if is_refused or failed else (100 + small % 3_000, 20 + small % 700)
    amount = input_tokens * 1_000 + output_tokens * 4_000
    kind = {"refused": "refused", "provider_error": "voided", "lease_expired": "expired"}.get(became, "posted")
    outcome = became if became in ("refused", "provider_error", "lease_expired") else "completed"
    cells = (
        *(f"event-{seq}", f"request-{seq}", kind, outcome, {"refused": 429, "provider_error": 503}.get(became, 200)),
        *(SLUG, caller.team, caller.key, user, "{" + ",".join(caller.tags) + "}", caller.tier, "openai_chat"),
        *("" if is_refused else provider, "" if is_refused else str(number + 1), "", model),
        *("" if is_refused else model, input_tokens, 0, 0, output_tokens, 0),
        *(
            "unpriced" if became == "unpriced" else "exact",
            r"\N" if became == "unpriced" else amount,
            amount,
            "1",
            "{}",
        ),
        *(f"{caller.team} monthly" if is_refused else "", seq, reserved_text, posted_text),
        *(r"\N" if is_refused else latency_ms, r"\N" if is_refused else latency_ms // 3, ""),
        *(model_name(0) if became == "degraded" else "", "{a shadow limit}" if became == "shadow" else "{}"),
    )
    return "\t".join(map(str, cells)) + "\n"
