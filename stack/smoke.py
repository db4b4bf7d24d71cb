"""Starts a system of its own, makes a plain and a streamed call, and holds the ledger against the provider's books."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import httpx
import openai

from stack.errors import StackError
from stack.readiness import eventually
from stack.system import Stack

_KEY: Final = "support-copilot-prod"
_TEAM: Final = "customer-support"
_MODEL: Final = "gpt-4o-mini"
_LEDGER_WITHIN_S: Final = 10
_AMOUNTS: Final = ("input_tokens", "output_tokens", "amount_nusd")


class SmokeError(StackError):
    """Something came out otherwise than it must; the message says what."""


def smoke() -> int:
    """Try everything once; the folder with its logs stays if something was wrong.

    Raises:
        StackError: the system did not start, or did the wrong thing.
    """
    return with_own_system("smoke", _try_out)


def with_own_system(name: str, try_out: Callable[[dict[str, Any]], None]) -> int:
    """Start a system, try something out on it, and stop it.

    Raises:
        StackError: the system did not start, or did the wrong thing.
    """
    run = Path(tempfile.mkdtemp(prefix=f"bursar-{name}-"))
    try:
        with Stack(run, settings={"BURSAR_DEMO_TOKEN_MS": "10"}, say=say) as stack:
            say("calling")
            try_out(stack.ready)
    except StackError:
        say(f"the logs are in {run / 'logs'}")
        raise
    shutil.rmtree(run)
    print(f"{name}: ok")
    return 0


def _try_out(ready: dict[str, Any]) -> None:
    client = openai.OpenAI(base_url=f"{ready['gateway']}/v1", api_key=ready["keys"][_KEY], max_retries=0, timeout=60)
    calls = [_plain_call(client), _streamed_call(client)]
    booked = {call["client_request_id"]: call for call in books(ready)}
    if sorted(booked) != sorted(calls):
        raise SmokeError(f"the provider's books have the calls {sorted(booked)}, not {sorted(calls)}")
    for request_id in calls:
        [row] = ledger_rows(ready, 1, request_id=request_id)
        compare_with_books(booked[request_id], row)
    _check_spend(ready, list(booked.values()))


def _plain_call(client: openai.OpenAI) -> str:
    answer = client.chat.completions.with_raw_response.create(
        model=_MODEL, messages=[{"role": "user", "content": "Where is my order?"}]
    )
    if not answer.parse().choices[0].message.content:
        raise SmokeError("the plain call was answered with nothing")
    return answer.headers["x-bursar-request-id"]


def _streamed_call(client: openai.OpenAI) -> str:
    answer = client.chat.completions.with_raw_response.create(
        model=_MODEL, messages=[{"role": "user", "content": "And when does it arrive?"}], stream=True
    )
    chunks = list(answer.parse())
    if len(chunks) < 3 or any(chunk.usage for chunk in chunks):
        raise SmokeError(f"the stream came as {len(chunks)} chunks, or with a usage that nobody asked for")
    return answer.headers["x-bursar-request-id"]


def books(ready: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the provider has billed, in the order of the calls' arrival."""
    calls: list[dict[str, Any]] = httpx.get(f"{ready['provider']}/_books").json()["calls"]
    return calls


def ledger_rows(ready: Mapping[str, Any], count: int, **query: str) -> list[dict[str, Any]]:
    """The only rows that answer the query, newest first, which must come by themselves within seconds.

    Raises:
        SmokeError: there are more, or one is of a call that was not posted.
    """
    rows: list[dict[str, Any]] = []

    def look() -> bool:
        rows[:] = _api(ready, "/api/v1/events", **query)["results"]
        return len(rows) >= count

    eventually(look, f"the ledger, asked for {query},", within_s=_LEDGER_WITHIN_S)
    if len(rows) > count or any(row["kind"] != "posted" for row in rows):
        raise SmokeError(f"the ledger has {[row['kind'] for row in rows]} for {query}, not {count} posted")
    return rows


def compare_with_books(booked: Mapping[str, Any], row: Mapping[str, Any]) -> None:
    """Raises: SmokeError: the provider's books and the ledger's row say something else of a call."""
    request_id = row["request_id"]
    for name in _AMOUNTS:
        if booked[name] != row[name]:
            raise SmokeError(f"call {request_id}: {name} is {row[name]} in the ledger, {booked[name]} in the books")
    say(f"{request_id}: {row['input_tokens']} + {row['output_tokens']} tokens, {row['amount_nusd']} nUSD in both")


def _check_spend(ready: dict[str, Any], booked: list[dict[str, Any]]) -> None:
    rows = {row["team"]: row for row in _api(ready, "/api/v1/spend", group_by="team")}
    expected = {name: sum(call[name] for call in booked) for name in _AMOUNTS} | {"requests": len(booked)}
    found = {name: rows.get(_TEAM, {}).get(name) for name in expected}
    if found != expected:
        raise SmokeError(f"the team's spend is {found}, the provider's books say {expected}")


def _api(ready: Mapping[str, Any], path: str, **query: str) -> Any:
    headers = {"authorization": f"Token {ready['api_token']}"}
    answer = httpx.get(f"{ready['control_plane']}{path}", params=query, headers=headers)
    if answer.is_error:
        raise SmokeError(f"GET {path}: {answer.status_code} {answer.text}")
    return answer.json()


def say(text: str) -> None:
    sys.stdout.write(f"smoke: {text}\n")
    sys.stdout.flush()
