"""Events are read as they were written, and nothing else is taken for one."""

from __future__ import annotations

import msgspec
import pytest

from kong_plugins.llm.events import ThresholdEvent, UsageEvent, decode_event

USAGE = UsageEvent(
    id="r1:1",
    request_id="r1",
    kind="posted",
    outcome="completed",
    organization="acme",
    team="search",
    key="K1",
    seq=1,
    reserved_at_ms=1,
    posted_at_ms=2,
    amount_nusd=9_007_199_254_740_993,
)


def test_an_amount_beyond_a_double_survives() -> None:
    event = decode_event("usage", msgspec.json.encode(USAGE))

    assert event == USAGE


def test_a_threshold_event_is_read() -> None:
    event = ThresholdEvent(
        id="t1",
        organization="acme",
        budget="b1",
        subject="search",
        period="month-2026-11-01",
        percent=50,
        cap=100,
        spent=51,
        crossed_at_ms=1,
    )

    assert decode_event("threshold", msgspec.json.encode(event)) == event


@pytest.mark.parametrize(
    ("event_type", "data"),
    [("other", b"{}"), ("usage", b"{}"), ("threshold", b"[]"), ("usage", b'{"amount_nusd": 1.5}'), ("usage", b"")],
)
def test_what_is_no_event_is_refused(event_type: str, data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_event(event_type, data)
