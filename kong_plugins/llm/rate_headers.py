"""What an answer says of rate limits: OpenAI's `x-ratelimit-*` and the IETF's `RateLimit` and `RateLimit-Policy`.

They tell a key what is its own: limits of its team, of itself, of the user it speaks for. A limit that the whole
organization shares is left out, since its numbers are made of other teams' calls.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from kong_plugins.llm.limits import LimitCheck, LimitState

# How long the call has waited in lines; on answers and on refusals.
QUEUED_HEADER: Final = "x-bursar-queued-ms"

_WINDOW_LETTERS: Final = {1_000: "s", 60_000: "m", 3_600_000: "h", 86_400_000: "d"}
# RFC 9651, section 3.3.1: an integer of a structured field has at most 15 digits.
_MOST: Final = 10**15 - 1


def rate_headers(states: Iterable[LimitState]) -> dict[str, str]:
    """The headers for these limits; where several count the same, the one with the least left speaks."""
    own = [state for state in states if not state.check.shadow and state.check.kind != "organization"]
    by_remaining = sorted(own, key=lambda state: state.remaining)
    by_name: dict[str, LimitState] = {}
    for state in by_remaining:
        by_name.setdefault(_policy_name(state.check), state)
    headers = (
        {}
        if not by_name
        else {
            "ratelimit-policy": ", ".join(_policy(name, state.check) for name, state in by_name.items()),
            "ratelimit": ", ".join(_standing(name, state) for name, state in by_name.items()),
        }
    )
    for unit in ("requests", "tokens"):
        tightest = next((state for state in by_remaining if state.check.unit == unit), None)
        if tightest is not None:
            headers[f"x-ratelimit-limit-{unit}"] = str(tightest.check.amount)
            headers[f"x-ratelimit-remaining-{unit}"] = str(tightest.remaining)
            headers[f"x-ratelimit-reset-{unit}"] = duration_text(tightest.reset_ms)
    return headers


def duration_text(duration_ms: int) -> str:
    """A duration as OpenAI writes it: `250ms`, `1.5s`, `6m0s`, `2h0m3s`."""
    if duration_ms < 1000:
        return f"{duration_ms}ms"
    minutes, rest_ms = divmod(duration_ms, 60_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{rest_ms / 1000:g}s"
    if hours or minutes:
        text = f"{minutes}m{text}"
    return f"{hours}h{text}" if hours else text


def _policy_name(check: LimitCheck) -> str:
    """Whose limit of what, such as `team-rpm`, `key-tph`, `user-requests-10s` or `team-concurrency`."""
    if check.unit == "concurrency":
        return f"{check.kind}-concurrency"
    letter = _WINDOW_LETTERS.get(check.window_ms)
    return f"{check.kind}-{check.unit[0]}p{letter}" if letter else f"{check.kind}-{check.unit}-{_seconds(check)}s"


def _policy(name: str, check: LimitCheck) -> str:
    """An item of `RateLimit-Policy`: q the quota, w its window in seconds, qu what it counts, if not requests
    (draft-ietf-httpapi-ratelimit-headers, section 3)."""
    quota = f'"{name}";q={min(check.amount, _MOST)}'
    if check.unit == "concurrency":
        return f'{quota};qu="concurrent-requests"'
    counted = "" if check.unit == "requests" else f';qu="{check.unit}"'
    return f"{quota};w={_seconds(check)}{counted}"


def _standing(name: str, state: LimitState) -> str:
    """An item of `RateLimit`: r what remains, t in how many seconds all of it is free again, never too early."""
    remaining = f'"{name}";r={min(state.remaining, _MOST)}'
    return remaining if state.check.unit == "concurrency" else f"{remaining};t={-(-state.reset_ms // 1000)}"


def _seconds(check: LimitCheck) -> int:
    return -(-check.window_ms // 1000)
