"""What goes wrong in the middle of a measurement: a process is told to end, or killed, while calls are in flight."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, get_args

import httpx

from stack.processes import process_ids
from stack.system import Stack

Fault = Literal["none", "redis restarted", "llm-rate-limit killed", "llm-token-meter killed"]
FAULTS: Final[tuple[Fault, ...]] = get_args(Fault)[1:]

_AFTER_CALLS: Final = 16
_AMID_CALLS: Final = 4
_LOOK_EVERY_S: Final = 0.02


def blow(fault: Fault, stack: Stack, run: Path) -> Callable[[], None]:
    """What causes the fault, once it is called: its victims are found now, since that takes a while.

    Whoever watches over a victim starts it again: supervisord Redis, the gateway its plugin servers.
    """
    if fault == "redis restarted":
        supervised = stack.process_id("valkey")
        victims, with_signal = [supervised] if supervised else [], signal.SIGTERM
    else:
        plugin = fault.removesuffix(" killed")
        first_gateway = str(run / "gateway" / "edge.env")
        victims, with_signal = process_ids("bursar-pluginserver", plugin, first_gateway), signal.SIGKILL
    if not victims:
        raise LookupError(f"{fault}: there is no such process")

    def strike() -> None:
        for process_id in victims:
            os.kill(process_id, with_signal)

    return strike


async def amid_calls(provider: str, account: str, strike: Callable[[], None]) -> None:
    """Strike as soon as the provider has had enough calls, and is at work on some of them."""
    async with httpx.AsyncClient(base_url=provider, params={"account": account}) as client:
        while True:
            calls = (await client.get("/_books")).json()["calls"]
            running = sum(not call["finished"] for call in calls)
            if len(calls) >= _AFTER_CALLS and running >= _AMID_CALLS:
                strike()
                return
            await asyncio.sleep(_LOOK_EVERY_S)
