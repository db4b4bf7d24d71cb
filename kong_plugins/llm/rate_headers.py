"""What an answer says of rate limits: the IETF's `RateLimit` and `RateLimit-Policy`, and the headers of its own format.

They tell a key what is its own: limits of its team, of itself, of the user it speaks for. A limit that the whole
organization shares is left out, since its numbers are made of other teams' calls.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from kong_plugins.llm.limits import LimitCheck, LimitState
from kong_plugins.llm.protocols import wire_format

# How long the call has waited in lines; on answers and on refusals.
QUEUED_HEADER: Final = "x-bursar-queued-ms"

_WINDOW_LETTERS: Final = {1_000: "s", 60_000: "m", 3_600_000: "h", 86_400_000: "d"}
# RFC 9651, section 3.3.1: an integer of a structured field has at most 15 digits.
_MOST: Final = 10**15 - 1


def rate_headers(states: Iterable[LimitState], *, protocol: str, now_ms: int) -> dict[str, str]:
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
            headers |= wire_format(protocol).limit_headers(
                unit,
                amount=tightest.check.amount,
                remaining=tightest.remaining,
                reset_ms=tightest.reset_ms,
                now_ms=now_ms,
            )
    return headers


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
