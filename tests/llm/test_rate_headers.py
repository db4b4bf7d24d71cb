"""Clients learn how their own limits stand, in the names of OpenAI and in those of the IETF, and nobody else's."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from kong_plugins.llm import rate_headers as told
from kong_plugins.llm.limits import LimitState
from kong_plugins.llm.protocols.limit_headers import duration_text
from tests.llm.limit_states import limit_state

NOON_MS = 1_795_435_200_000  # 2026-11-23T12:00:00Z


def rate_headers(states: Iterable[LimitState], protocol: str = "openai_chat") -> dict[str, str]:
    return told.rate_headers(states, protocol=protocol, now_ms=NOON_MS)


def test_of_several_limits_that_count_the_same_the_tightest_speaks() -> None:
    limits = (
        limit_state("requests", amount=600, remaining=599),
        limit_state("requests", amount=10, remaining=3, reset_ms=1500),
        limit_state("requests", amount=1, remaining=0, shadow=True),
        limit_state("tokens", amount=9000, remaining=8000, reset_ms=250),
        limit_state("concurrency", amount=5, remaining=4),
    )

    assert rate_headers(limits) == {
        "x-ratelimit-limit-requests": "10",
        "x-ratelimit-remaining-requests": "3",
        "x-ratelimit-reset-requests": "1.5s",
        "x-ratelimit-limit-tokens": "9000",
        "x-ratelimit-remaining-tokens": "8000",
        "x-ratelimit-reset-tokens": "250ms",
        "ratelimit-policy": (
            '"team-rpm";q=10;w=60, "team-concurrency";q=5;qu="concurrent-requests", "team-tpm";q=9000;w=60;qu="tokens"'
        ),
        "ratelimit": '"team-rpm";r=3;t=2, "team-concurrency";r=4, "team-tpm";r=8000;t=1',
    }


def test_clients_of_anthropic_read_the_same_in_its_own_headers() -> None:
    limits = (
        limit_state("requests", amount=10, remaining=3, reset_ms=1500),
        limit_state("tokens", amount=9000, remaining=8000, reset_ms=60_000),
    )

    headers = rate_headers(limits, "anthropic_messages")

    assert {name: value for name, value in headers.items() if "anthropic" in name} == {
        "anthropic-ratelimit-requests-limit": "10",
        "anthropic-ratelimit-requests-remaining": "3",
        "anthropic-ratelimit-requests-reset": "2026-11-23T12:00:02Z",
        "anthropic-ratelimit-tokens-limit": "9000",
        "anthropic-ratelimit-tokens-remaining": "8000",
        "anthropic-ratelimit-tokens-reset": "2026-11-23T12:01:00Z",
    }
    assert headers["ratelimit"] == '"team-rpm";r=3;t=2, "team-tpm";r=8000;t=60'
    assert not any(name.startswith("x-ratelimit") for name in headers)


@pytest.mark.parametrize(
    ("unit", "window_ms", "item"),
    [
        ("requests", 1_000, '"key-rps";q=9;w=1'),
        ("requests", 3_600_000, '"key-rph";q=9;w=3600'),
        ("tokens", 86_400_000, '"key-tpd";q=9;w=86400;qu="tokens"'),
        ("tokens", 10_000, '"key-tokens-10s";q=9;w=10;qu="tokens"'),
        ("requests", 1_500, '"key-requests-2s";q=9;w=2'),
    ],
)
def test_a_policy_is_named_after_whose_it_is_and_what_it_counts(unit: str, window_ms: int, item: str) -> None:
    state = limit_state(unit, amount=9, remaining=1, window_ms=window_ms, kind="key")  # type: ignore[arg-type]

    assert rate_headers([state])["ratelimit-policy"] == item


def test_limits_that_the_organization_shares_are_left_out() -> None:
    shared = limit_state("requests", amount=10**6, remaining=7, kind="organization")

    assert rate_headers([shared]) == {}
    own = limit_state("requests", amount=50, remaining=40)
    assert rate_headers([shared, own])["x-ratelimit-limit-requests"] == "50"


def test_an_amount_that_a_structured_field_cannot_hold_is_told_as_the_most_that_it_can() -> None:
    headers = rate_headers([limit_state("tokens", amount=9 * 10**15, remaining=9 * 10**15)])

    assert headers["ratelimit"] == '"team-tpm";r=999999999999999;t=60'


@pytest.mark.parametrize(("reset_ms", "seconds"), [(0, 0), (1, 1), (1000, 1), (1001, 2)])
def test_a_client_that_waits_as_told_is_never_too_early(reset_ms: int, seconds: int) -> None:
    headers = rate_headers([limit_state("requests", amount=1, remaining=0, reset_ms=reset_ms)])

    assert headers["ratelimit"].endswith(f";t={seconds}")


@pytest.mark.parametrize(
    ("duration_ms", "text"),
    [(0, "0ms"), (999, "999ms"), (1000, "1s"), (59_250, "59.25s"), (360_000, "6m0s"), (7_203_000, "2h0m3s")],
)
def test_a_duration_reads_as_openai_writes_it(duration_ms: int, text: str) -> None:
    assert duration_text(duration_ms) == text
