"""How a deployment can fail a call, and for how long it had better be asked no more."""

from __future__ import annotations

import math
from email.utils import parsedate_to_datetime
from typing import Final, Literal

import msgspec

# The least lets a client's next try go elsewhere, whatever the provider says; the most has it tried now and then, where
# the provider names the end of a quota, which somebody may raise meanwhile.
LEAST_MS: Final = 1_000
MOST_MS: Final = 600_000
# A credential is put right by people. Some providers answer 403 to a prompt that they do not like, too, so by that
# alone no caller shall keep others away for so long: https://openrouter.ai/docs/api-reference/errors
REFUSED_MS: Final = 300_000
_MAY_BE_THE_PROMPT: Final = 403


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """What the guard has taken for a failure of the deployment: it refuses our credential, answers that it is
    overloaded or broken (`busy`), cannot be connected to, or fell `silent` after the request was sent.

    `retry_after` and `retry_after_ms` are those headers of its answer, empty where it has none.
    """

    kind: Literal["refused", "busy", "unreachable", "silent"]
    retry_after: str = ""
    retry_after_ms: str = ""


def passed_over_ms(failure: Failure, *, status: int, now_ms: int) -> int | None:
    """For how long the deployment is to be passed over; None where nothing says so but how often it has failed.

    Both headers as the SDKs of OpenAI and Anthropic read them; a date as
    https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
    """
    asked_ms = _number(failure.retry_after_ms)
    if asked_ms is None:
        asked_ms = _after_ms(failure.retry_after, now_ms)
    bounded_ms = None if asked_ms is None else round(min(max(asked_ms, LEAST_MS), MOST_MS))
    if failure.kind == "refused" and status != _MAY_BE_THE_PROMPT:
        return max(REFUSED_MS, bounded_ms or 0)
    return bounded_ms


def _after_ms(text: str, now_ms: int) -> float | None:
    seconds = _number(text)
    if seconds is not None:
        return seconds * 1000
    try:
        return parsedate_to_datetime(text).timestamp() * 1000 - now_ms
    except (ValueError, OverflowError):
        return None


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
