"""`python -m demo.traffic`: sends mixed calls with the demo's keys through the gateway, until stopped.

Models, lengths, users, streams and clients that leave halfway are drawn at random; at the end, and every ten
seconds, it says how the calls came out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final, Self

import openai

_MODELS: Final = {
    "support-copilot-prod": ["gpt-4o", "gpt-4o-mini", "gpt-4.1"],
    "support-copilot-staging": ["gpt-4o-mini"],
    "search-ranking-prod": ["gpt-4o-mini", "gpt-4.1-mini"],
    "search-eval-nightly": ["gpt-4.1-mini"],
    "marketing-lab": ["gpt-4o-mini", "gpt-4.1-nano"],
}
_WEIGHTS: Final = {"support-copilot-prod": 5, "search-ranking-prod": 3, "marketing-lab": 2}
_USERS: Final = ("alice", "bob", "charlie", "dora", "emil")
_QUESTIONS: Final = (
    "Where is my order?",
    "Summarise this ticket in two sentences, and say what the customer wants from us.",
    "Rank these five results for the query 'waterproof hiking boots'.",
    "Write three headlines for a spring sale of garden furniture.",
)
_SAY_EVERY_S: Final = 10


class Traffic:
    """Calls from several clients at once, and how they came out."""

    def __init__(self, gateway_url: str, keys: dict[str, str], dice: random.Random) -> None:
        self.outcomes: Counter[str] = Counter()
        self._dice = dice
        self._names = [name for name in keys if name in _MODELS]
        self._clients = {
            name: openai.AsyncOpenAI(base_url=f"{gateway_url}/v1", api_key=keys[name], max_retries=0)
            for name in self._names
        }

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        for client in self._clients.values():
            await client.close()

    async def run(self, *, clients: int, until_s: float, pause_s: float) -> None:
        """Call until `until_s` (monotonic), each client pausing about `pause_s` between two calls."""
        await asyncio.gather(*(self._one_client(until_s, pause_s) for _ in range(clients)))

    async def _one_client(self, until_s: float, pause_s: float) -> None:
        while time.monotonic() < until_s:
            await asyncio.sleep(self._dice.uniform(0, 2 * pause_s))
            self.outcomes[await self._one_call()] += 1

    async def _one_call(self) -> str:
        (name,) = self._dice.choices(self._names, [_WEIGHTS.get(name, 1) for name in self._names])
        request: dict[str, Any] = {
            "model": self._dice.choice(_MODELS[name]),
            "messages": [{"role": "user", "content": self._dice.choice(_QUESTIONS)}],
            "max_tokens": self._dice.choice([20, 60, 200]),
            "extra_headers": {"x-user-id": self._dice.choice(_USERS)},
        }
        try:
            if self._dice.random() < 0.5:
                return await self._streamed(self._clients[name], request)
            await self._clients[name].chat.completions.create(**request)
        except openai.APIStatusError as error:
            return f"refused {error.status_code} {error.code}"
        except openai.APIError as error:
            return type(error).__name__
        return "answered"

    async def _streamed(self, client: openai.AsyncOpenAI, request: dict[str, Any]) -> str:
        leaves_after = self._dice.choice([None, None, None, 5])
        async with await client.chat.completions.create(**request, stream=True) as stream:
            chunks = 0
            async for _chunk in stream:
                chunks += 1
                if chunks == leaves_after:
                    return "left halfway"
        return "streamed"


async def _send(options: argparse.Namespace, ready: dict[str, Any]) -> None:
    until_s = time.monotonic() + options.seconds
    async with Traffic(ready["gateway"], ready["keys"], random.Random(options.seed)) as traffic:
        calls = asyncio.create_task(traffic.run(clients=options.clients, until_s=until_s, pause_s=options.pause_s))
        while not calls.done():
            await asyncio.wait([calls], timeout=_SAY_EVERY_S)
            print(", ".join(f"{count} {outcome}" for outcome, count in sorted(traffic.outcomes.items())), flush=True)
        await calls


def main() -> None:
    parser = argparse.ArgumentParser(prog="demo.traffic", description="Mixed calls with the demo's keys.")
    parser.add_argument("--ready", type=Path, default=Path(".run/ready.json"), help="what `make run` has written")
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--pause-s", type=float, default=1.0, help="about how long a client waits between two calls")
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--seed", type=int, help="draw the same calls again")
    options = parser.parse_args()
    if not options.ready.exists():
        sys.exit(f"{options.ready} is not there: start the system with `make run` first")
    try:
        asyncio.run(_send(options, json.loads(options.ready.read_text())))
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
