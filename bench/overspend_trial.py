"""One case of `bench-overspend` on a running system: a crowd against a cap, with a fault among it."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import httpx

from bench.crowd import Crowd
from bench.faults import Fault, amid_calls, blow
from bench.overspend_rows import NO_FAULT, LedgerRow, Outcome
from stack.system import Stack

CAP_NUSD: Final = 100_000_000
OUTPUT_TOKENS: Final = 100
FIRST_TOKEN_MS: Final = 200
DEADLINE_MS: Final = 15_000
LEASE_GRACE_MS: Final = 5_000

# With 80 tokens of input and 100 of output, a call of this model costs $0.0012.
_MODEL: Final = "gpt-4o"
_PROMPT: Final = (
    " ".join(["Rank these five results for the query 'waterproof hiking boots', and say why."] * 4)
    + " Be brief, please."
)
_ACCOUNT: Final = "sk-sim-demo"
_CALIBRATING_KEY: Final = "support-copilot-prod"
# Until every lease is over, the sweep has come by, and the ledger has heard of it.
_SETTLED_WITHIN_S: Final = (DEADLINE_MS + LEASE_GRACE_MS) / 1000 + 40
_LOOK_EVERY_S: Final = 0.25
_SPENDING: Final = ("posted", "expired", "adjusted")


@dataclass(frozen=True, kw_only=True)
class Case:
    """What the crowd asks of how many gateways, and what goes wrong meanwhile."""

    gateways: int
    stream: bool
    max_tokens: bool
    fault: Fault = NO_FAULT

    @property
    def name(self) -> str:
        gateways = "1 gateway" if self.gateways == 1 else f"{self.gateways} gateways"
        return f"{gateways}, {'streamed' if self.stream else 'plain'}, {'' if self.max_tokens else 'no '}max_tokens"

    def body(self) -> dict[str, Any]:
        limit = {"max_tokens": OUTPUT_TOKENS} if self.max_tokens else {}
        return {"model": _MODEL, "messages": [{"role": "user", "content": _PROMPT}], "stream": self.stream} | limit


class TrialGround:
    """A running system in which one case after the other is tried, each with a team of its own.

    `queue_s` is how long the teams' budgets let a call wait; at 0 they do not.
    """

    def __init__(self, stack: Stack, run: Path, *, queue_s: int) -> None:
        self._stack, self._run, self._queue_s = stack, run, queue_s
        ready = stack.ready
        self._gateways: list[str] = list(ready["gateways"].values())
        self._known_key: str = ready["keys"][_CALIBRATING_KEY]
        self._provider_url: str = ready["provider"]
        headers = {"authorization": f"Token {ready['api_token']}"}
        self._open = ExitStack()
        self._api = self._open.enter_context(
            httpx.Client(base_url=f"{ready['control_plane']}/api/v1", headers=headers, timeout=30)
        )
        self._provider = self._open.enter_context(
            httpx.Client(base_url=self._provider_url, params={"account": _ACCOUNT}, timeout=30)
        )
        self._true_cost_nusd = self._calibrate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._open.close()

    def run(self, case: Case) -> tuple[Outcome, Counter[str]]:
        """Send the crowd, wait until nothing is held any more; return how it came out, and what the clients saw."""
        self._provider.delete("/_books").raise_for_status()
        slug = f"crowd-{uuid.uuid4().hex[:8]}"
        self._create("teams", slug=slug, name=slug, tier="normal", models=[_MODEL])
        key: str = self._create("keys", team=slug, name=slug)["key"]
        of_the_team = {"name": slug, "scope": "team", "subject": slug, "unit": "nusd", "period": "total"}
        budget = self._create("budgets", amount=CAP_NUSD, queue_seconds=self._queue_s, **of_the_team)
        crowd = Crowd(gateways=self._gateways, key=key, body=case.body())
        seen = asyncio.run(self._send(crowd, case.fault))
        return self._outcome(case, slug, budget["id"]), seen

    async def _send(self, crowd: Crowd, fault: Fault) -> Counter[str]:
        if fault == NO_FAULT:
            return await crowd.send()
        strike = blow(fault, self._stack, self._run)
        fate = asyncio.create_task(amid_calls(self._provider_url, _ACCOUNT, strike))
        seen = await crowd.send()
        if not fate.done():
            fate.cancel()
            raise LookupError(f"{fault}: there was no moment with calls in flight")
        await fate
        return seen

    def _outcome(self, case: Case, slug: str, budget_id: int) -> Outcome:
        give_up_s = time.monotonic() + _SETTLED_WITHIN_S
        while True:
            outcome = Outcome(
                case=case.name,
                fault=case.fault,
                cap_nusd=CAP_NUSD,
                true_cost_nusd=self._true_cost_nusd,
                billed_nusd=self._billed(),
                ledger=self._ledger(slug),
                counters=self._counters(budget_id),
            )
            if outcome.is_settled or time.monotonic() > give_up_s:
                return outcome
            time.sleep(_LOOK_EVERY_S)

    def _calibrate(self) -> int:
        """What one call truly costs, by the provider's books."""
        behaviour = {"first_token_ms": FIRST_TOKEN_MS, "output_tokens": OUTPUT_TOKENS}
        self._provider.put("/_behaviour", json=behaviour).raise_for_status()
        self._provider.delete("/_books").raise_for_status()
        body = Case(gateways=1, stream=False, max_tokens=True).body()
        headers = {"authorization": f"Bearer {self._known_key}"}
        url = f"{self._gateways[0]}/v1/chat/completions"
        httpx.post(url, json=body, headers=headers, timeout=30).raise_for_status()
        (cost_nusd,) = self._billed().values()
        return cost_nusd

    def _billed(self) -> dict[str, int]:
        calls = self._provider.get("/_books").raise_for_status().json()["calls"]
        return {call["client_request_id"]: call["amount_nusd"] for call in calls if call["status"] == httpx.codes.OK}

    def _ledger(self, slug: str) -> list[LedgerRow]:
        return [row for kind in _SPENDING for row in self._rows(slug, kind)]

    def _rows(self, slug: str, kind: str) -> list[LedgerRow]:
        answer = self._api.get("/events", params={"team": slug, "kind": kind, "page_size": 1000}).raise_for_status()
        page = answer.json()
        if page["next"]:
            raise LookupError("a case has more rows than a page of the ledger")
        return [
            LedgerRow(
                request_id=row["request_id"],
                kind=kind,
                amount_nusd=row["amount_nusd"],
                queued_ms=row["queued_ms"] or 0,
            )
            for row in page["results"]
        ]

    def _counters(self, budget_id: int) -> tuple[int, int] | None:
        state = self._api.get(f"/budgets/{budget_id}").raise_for_status().json()["state"]
        return state and (state["spent"], state["held"])

    def _create(self, kind: str, **fields: Any) -> dict[str, Any]:
        answer = self._api.post(f"/{kind}", json=fields)
        if answer.is_error:
            raise LookupError(f"POST /{kind}: {answer.status_code} {answer.text}")
        created: dict[str, Any] = answer.json()
        return created
