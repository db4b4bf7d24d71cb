"""Many clients at once, each with the manners of an OpenAI SDK: it goes by `x-should-retry` and `retry-after-ms`.

Unlike an SDK, which tries three times, a request here tries again until its patience is over.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx

REQUESTS: Final = 400
CONCURRENCY: Final = 64
_PATIENCE_S: Final = 30.0
# A gateway may have a request wait in a line for all of its patience, and only then is it sent on.
_READ_TIMEOUT_S: Final = 2 * _PATIENCE_S
_LONGEST_OBEYED_S: Final = 60.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 8.0
_RETRIED: Final = frozenset({408, 409, 429})


@dataclass(frozen=True, kw_only=True)
class Crowd:
    """The same request, many times over, to several gateways in turn."""

    gateways: Sequence[str]
    key: str
    body: Mapping[str, Any]
    requests: int = REQUESTS
    concurrency: int = CONCURRENCY

    async def send(self) -> Counter[str]:
        """Make all requests; return how many came out how."""
        outcomes: Counter[str] = Counter()
        numbers = iter(range(self.requests))
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        headers = {"authorization": f"Bearer {self.key}"}
        async with httpx.AsyncClient(limits=limits, headers=headers, timeout=_READ_TIMEOUT_S) as client:
            await asyncio.gather(*(self._work(client, numbers, outcomes) for _ in range(self.concurrency)))
        return outcomes

    async def _work(self, client: httpx.AsyncClient, numbers: Iterator[int], outcomes: Counter[str]) -> None:
        for number in numbers:
            url = f"{self.gateways[number % len(self.gateways)]}/v1/chat/completions"
            outcomes[await self._request(client, url)] += 1

    async def _request(self, client: httpx.AsyncClient, url: str) -> str:
        give_up_s, tries = time.monotonic() + _PATIENCE_S, 0
        while True:
            outcome, pause_s = await self._attempt(client, url, tries)
            tries += 1
            if pause_s is None or time.monotonic() + pause_s > give_up_s:
                return outcome
            await asyncio.sleep(pause_s)

    async def _attempt(self, client: httpx.AsyncClient, url: str, tries: int) -> tuple[str, float | None]:
        """How one attempt came out, and after which pause to try again; None where that is of no use."""
        status = 0
        try:
            async with client.stream("POST", url, json=self.body) as answer:
                status = answer.status_code
                await answer.aread()
        except httpx.TransportError as error:
            return ("broken off", None) if status == httpx.codes.OK else (type(error).__name__, own_pause_s(tries))
        if answer.is_success:
            return "answered", None
        code = answer.json().get("error", {}).get("code", "") if "json" in answer.headers["content-type"] else ""
        return f"{status} {code}".strip(), pause_after_s(status, answer.headers, tries)


def pause_after_s(status: int, headers: Mapping[str, str], tries: int) -> float | None:
    """How long an SDK waits before it tries again after a refusal; None where it does not.

    Source: `_should_retry` and `_calculate_retry_timeout` of openai-python's `_base_client.py`.
    """
    told = headers.get("x-should-retry")
    if told == "false" or (told != "true" and status not in _RETRIED and status < httpx.codes.INTERNAL_SERVER_ERROR):
        return None
    for name, per_second in (("retry-after-ms", 1000), ("retry-after", 1)):
        if name in headers:
            asked_s = float(headers[name]) / per_second
            return asked_s if 0 < asked_s <= _LONGEST_OBEYED_S else own_pause_s(tries)
    return own_pause_s(tries)


def own_pause_s(tries: int) -> float:
    """How long an SDK waits where it is told nothing: twice as long each time, a little less so that not all come at
    once."""
    return float(min(_FIRST_PAUSE_S * 2**tries, _LONGEST_PAUSE_S) * (1 - 0.25 * random.random()))
