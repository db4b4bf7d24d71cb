"""How a rate limit stands, in the headers that the SDKs and clients of a wire format know."""

from __future__ import annotations

from datetime import UTC, datetime


def openai_limit_headers(unit: str, *, amount: int, remaining: int, reset_ms: int, now_ms: int) -> dict[str, str]:
    """`x-ratelimit-*`; the reset is a duration."""
    return {
        f"x-ratelimit-limit-{unit}": str(amount),
        f"x-ratelimit-remaining-{unit}": str(remaining),
        f"x-ratelimit-reset-{unit}": duration_text(reset_ms),
    }


def anthropic_limit_headers(unit: str, *, amount: int, remaining: int, reset_ms: int, now_ms: int) -> dict[str, str]:
    """`anthropic-ratelimit-*`; the reset is an instant (RFC 3339), and never too early."""
    return {
        f"anthropic-ratelimit-{unit}-limit": str(amount),
        f"anthropic-ratelimit-{unit}-remaining": str(remaining),
        f"anthropic-ratelimit-{unit}-reset": _instant_text(now_ms + reset_ms),
    }


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


def _instant_text(at_ms: int) -> str:
    return datetime.fromtimestamp(-(-at_ms // 1000), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
