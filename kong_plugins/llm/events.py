"""The contract that comes up: what happened, one immutable UsageEvent at a time.

The scripts that move a counter append the event in the same step (`store.py`), so the two cannot part.
A hold's own event has the id `<request id>:1`; a truth that arrives after the hold has expired is a
second event, `<request id>:2`, whose amount and tokens are the difference.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from kong_plugins.llm.usage import Quality

EventKind = Literal["posted", "voided", "expired", "refused", "adjusted"]


class UsageEvent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row of the ledger. Amounts are integer nano-USD, instants are Redis time in Unix milliseconds.

    `amount_nusd` is None where no price was known. In an `adjusted` event amounts and tokens are signed differences.
    `request_model` is the model that the call was accounted under; `degraded_from` the one that was asked for, where
    that is another. Each of `candidates` is a deployment's id, the last one the call's own, those before it with the
    scope that passed them over. `shadow_refusals` names the limits and budgets that would have refused the call, were
    they not in shadow mode. `queued_ms` is how long it waited in a line.
    `key_generation` says which of the key's secrets the call has shown (`keys.py`).
    `uncounted`: Redis had lost the call's hold, so its counters learn of it only when the ledger takes the event.
    """

    format: Literal[1] = 1
    id: str
    request_id: str
    kind: EventKind
    outcome: str
    organization: str
    team: str
    key: str
    seq: int
    reserved_at_ms: int
    posted_at_ms: int
    http_status: int | None = None
    user: str | None = None
    tags: tuple[str, ...] = ()
    tier: str | None = None
    protocol: str | None = None
    provider: str | None = None
    deployment: str | None = None
    region: str | None = None
    request_model: str | None = None
    response_model: str | None = None
    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    input_audio_tokens: int = 0
    cache_read_audio_tokens: int = 0
    input_image_tokens: int = 0
    cache_read_image_tokens: int = 0
    input_video_tokens: int = 0
    output_audio_tokens: int = 0
    output_image_tokens: int = 0
    output_video_tokens: int = 0
    units: dict[str, int] = {}
    service_tier: str | None = None
    quality: Quality | None = None
    amount_nusd: int | None = 0
    hold_nusd: int = 0
    price_version: str | None = None
    release: int | None = None
    candidates: tuple[str, ...] = ()
    refusing_scope: str | None = None
    requested_max_tokens: int | None = None
    granted_max_tokens: int | None = None
    input_bound_tokens: int | None = None
    latency_ms: int | None = None
    first_token_ms: int | None = None
    trace_id: str | None = None
    degraded_from: str | None = None
    queued_ms: int | None = None
    shadow_refusals: tuple[str, ...] = ()
    uncounted: bool = False
    key_generation: int = 1


class ThresholdEvent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A budget of one subject has crossed `percent` of its cap for the first time in its period.

    `cap` and `spent` are in the budget's unit.
    """

    format: Literal[1] = 1
    id: str
    organization: str
    budget: str
    subject: str
    period: str
    percent: int
    cap: int
    spent: int
    crossed_at_ms: int


Event = UsageEvent | ThresholdEvent


def decode_event(event_type: str, data: bytes) -> Event:
    """Read one stream entry.

    Raises:
        ValueError: the type is unknown, or the data is not such an event.
    """
    if event_type == "usage":
        return msgspec.json.decode(data, type=UsageEvent)
    if event_type == "threshold":
        return msgspec.json.decode(data, type=ThresholdEvent)
    raise ValueError(f"unknown event type: {event_type!r}")
