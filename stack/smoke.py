"""Starts a system of its own, makes a plain and a streamed call, and holds the ledger against the provider's books."""

from __future__ import annotations

import shutil
import sys
import tempfile
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
    run = Path(tempfile.mkdtemp(prefix="bursar-smoke-"))
    try:
        with Stack(run, settings={"BURSAR_DEMO_TOKEN_MS": "10"}, say=_say) as stack:
            _say("calling")
            _try_out(stack.ready)
    except StackError:
        _say(f"the logs are in {run / 'logs'}")
        raise
    shutil.rmtree(run)
    print("smoke: ok")
    return 0


def _try_out(ready: dict[str, Any]) -> None:
    client = openai.OpenAI(base_url=f"{ready['gateway']}/v1", api_key=ready["keys"][_KEY], max_retries=0, timeout=60)
    calls = [_plain_call(client), _streamed_call(client)]
    books = {call["client_request_id"]: call for call in _books(ready)}
    if sorted(books) != sorted(calls):
        raise SmokeError(f"the provider's books have the calls {sorted(books)}, not {sorted(calls)}")
    for request_id in calls:
        _compare(request_id, books[request_id], _ledger_row(ready, request_id))
    _check_spend(ready, list(books.values()))


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


def _books(ready: dict[str, Any]) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = httpx.get(f"{ready['provider']}/_books").json()["calls"]
    return calls


def _ledger_row(ready: dict[str, Any], request_id: str) -> dict[str, Any]:
    """The call's only row, which must come by itself within seconds."""
    rows: list[dict[str, Any]] = []

    def look() -> bool:
        rows[:] = _api(ready, "/api/v1/events", request_id=request_id)["results"]
        return bool(rows)

    eventually(look, f"the ledger, asked for call {request_id},", within_s=_LEDGER_WITHIN_S)
    if len(rows) != 1 or rows[0]["kind"] != "posted":
        raise SmokeError(f"the ledger has {[row['kind'] for row in rows]} for call {request_id}, not one posted row")
    return rows[0]


def _compare(request_id: str, booked: dict[str, Any], row: dict[str, Any]) -> None:
    for name in _AMOUNTS:
        if booked[name] != row[name]:
            raise SmokeError(f"call {request_id}: {name} is {row[name]} in the ledger, {booked[name]} in the books")
    _say(f"{request_id}: {row['input_tokens']} + {row['output_tokens']} tokens, {row['amount_nusd']} nUSD in both")


def _check_spend(ready: dict[str, Any], booked: list[dict[str, Any]]) -> None:
    rows = {row["team"]: row for row in _api(ready, "/api/v1/spend", group_by="team")}
    expected = {name: sum(call[name] for call in booked) for name in _AMOUNTS} | {"requests": len(booked)}
    found = {name: rows.get(_TEAM, {}).get(name) for name in expected}
    if found != expected:
        raise SmokeError(f"the team's spend is {found}, the provider's books say {expected}")


def _api(ready: dict[str, Any], path: str, **query: str) -> Any:
    headers = {"authorization": f"Token {ready['api_token']}"}
    answer = httpx.get(f"{ready['control_plane']}{path}", params=query, headers=headers)
    if answer.is_error:
        raise SmokeError(f"GET {path}: {answer.status_code} {answer.text}")
    return answer.json()


def _say(text: str) -> None:
    sys.stdout.write(f"smoke: {text}\n")
    sys.stdout.flush()
