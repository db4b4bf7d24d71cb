"""The errors with which calls are not admitted: what refused, and when it is worth trying again."""

from __future__ import annotations

from typing import Final

from kong_plugins.llm.errors import (
    BursarError,
    InsufficientQuota,
    PolicyUnavailable,
    RateLimitExceeded,
    RequestTooLarge,
)
from kong_plugins.llm.limits import BudgetCheck, Denied
from kong_plugins.llm.rate_headers import QUEUED_HEADER, rate_headers
from kong_plugins.llm.windows import END_OF_TIME_MS

_RETRY_AFTER_MS: Final = 1000


def refusal_of(denied: Denied, *, protocol: str, now_ms: int, queued_ms: int | None) -> BursarError:
    """The answer to a call that a limit or a budget has refused, maybe after a wait."""
    scope = denied.check.scope_name
    queued = {} if queued_ms is None else {QUEUED_HEADER: str(queued_ms)}
    if isinstance(denied.check, BudgetCheck) and denied.retry_after_ms is None:
        message = f"The {scope} does not cover this request."
        return InsufficientQuota(
            message, scope=scope, earliest_at_ms=_period_end_ms(denied.check, now_ms), more_headers=queued
        )
    headers = rate_headers(denied.limits, protocol=protocol, now_ms=now_ms) | queued
    if denied.retry_after_ms is None:
        message = f"The request asks for more than the {scope} ever admits."
        return RequestTooLarge(message, scope=scope, more_headers=headers)
    is_budget = isinstance(denied.check, BudgetCheck)
    return RateLimitExceeded(
        f"Other requests wait for the {scope}. Try again."
        if is_budget
        else f"The {scope} is reached. Try again later.",
        scope=scope,
        retry_after_ms=denied.retry_after_ms,
        earliest_at_ms=now_ms + denied.retry_after_ms,
        more_headers=headers,
    )


def undecided(error: type[PolicyUnavailable] = PolicyUnavailable) -> PolicyUnavailable:
    """The answer where nothing can be decided at the moment."""
    return error("Requests cannot be decided on at the moment. Try again.", retry_after_ms=_RETRY_AFTER_MS)


def _period_end_ms(check: BudgetCheck, now_ms: int) -> int | None:
    """When the budget's running period ends; None where it never does."""
    end_ms = (check.current if now_ms < check.current.end_ms else check.following).end_ms
    return end_ms if end_ms < END_OF_TIME_MS else None
