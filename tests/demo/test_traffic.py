"""The traffic generator, pointed straight at the provider."""

from __future__ import annotations

import asyncio
import random
import time

from demo.traffic import Traffic
from tests.demo.conftest import Account

_KEYS = ("support-copilot-prod", "search-ranking-prod", "marketing-lab")


def test_traffic_is_mixed_and_every_call_is_accounted_for(account: Account) -> None:
    account.behave(token_ms=1)
    outcomes = asyncio.run(_calls(account))
    calls = account.books()["calls"]
    assert sum(outcomes.values()) == len(calls)
    assert outcomes.keys() >= {"answered", "streamed"}
    assert len({call["model"] for call in calls}) > 1


async def _calls(account: Account) -> dict[str, int]:
    """Calls until there are both kinds, the same ones in every run."""
    keys = dict.fromkeys(_KEYS, account.name)
    async with Traffic(account.provider_url, keys, random.Random(1)) as traffic:
        while len(traffic.outcomes) < 2 or sum(traffic.outcomes.values()) < 20:
            await traffic.run(clients=4, until_s=time.monotonic() + 0.3, pause_s=0.01)
        return traffic.outcomes


def test_a_refusal_is_counted_by_its_code(account: Account) -> None:
    account.behave(fail_status=429)
    assert asyncio.run(_refusals(account)).keys() == {"refused 429 rate_limit_exceeded"}


async def _refusals(account: Account) -> dict[str, int]:
    async with Traffic(account.provider_url, {"marketing-lab": account.name}, random.Random(1)) as traffic:
        while not traffic.outcomes:
            await traffic.run(clients=1, until_s=time.monotonic() + 0.1, pause_s=0.01)
        return traffic.outcomes
