"""Starts a system of its own with a route that is only observed, calls a provider through it with the provider's own
key, and holds what arrived, what came back and the ledger against a direct call and the provider's books."""

from __future__ import annotations

import hashlib
import re
from typing import Any, Final

import httpx

from stack.observed_route import add_service, observed_service
from stack.smoke import SmokeError, books, compare_with_books, ledger_rows, with_own_system

_ACCOUNT: Final = "sk-sim-existing-application"
_BODY: Final = (
    '{"model": "gpt-4o-mini","messages":[ {"role":"user","content":"Where is my order? \\u00e9é"}],"stop":[]%s}'
)
_ASKS_FOR_USAGE: Final = b'{"stream_options":{"include_usage":true},'
# What no two answers have in common: their ids and instants.
_OWN: Final = re.compile(rb'"id":\s*"[^"]*"|"created":\s*[0-9]+')
# With usage asked for, OpenAI says in every chunk that there is none yet.
_NO_USAGE_YET: Final = b',"usage":null'


def observe_smoke() -> int:
    """Try everything once; the folder with its logs stays if something was wrong.

    Raises:
        StackError: the system did not start, or did the wrong thing.
    """
    return with_own_system("smoke-observe", _try_out)


def _try_out(ready: dict[str, Any]) -> None:
    observed = add_service(ready, observed_service(ready, provider="simulator"))
    for streamed in (False, True):
        body = (_BODY % (',"stream":true' if streamed else "")).encode()
        direct, passed = _call(ready["provider"], body), _call(observed, body)
        _compare_answers(direct, passed)
        direct_entry, entry = books(ready)[-2:]
        arrives = _ASKS_FOR_USAGE + body[1:] if streamed else body
        if direct_entry["body_sha256"] != _digest(body) or entry["body_sha256"] != _digest(arrives):
            raise SmokeError("the provider was sent other bytes than the client's")
        if entry["account"] != _ACCOUNT:
            raise SmokeError(f"the provider was shown the key of {entry['account']}, not the client's own")
        [row, *_] = ledger_rows(ready, 1 + streamed, team="unattributed")
        if (row["quality"], row["hold_nusd"]) != ("exact", 0):
            raise SmokeError(f"the row is {row['quality']}, and {row['hold_nusd']} nUSD were held")
        compare_with_books(entry, row)


def _call(url: str, body: bytes) -> httpx.Response:
    headers = {"authorization": f"Bearer {_ACCOUNT}", "content-type": "application/json"}
    return httpx.post(f"{url}/v1/chat/completions", content=body, headers=headers, timeout=60)


def _compare_answers(direct: httpx.Response, passed: httpx.Response) -> None:
    if _without_own(passed) != _without_own(direct):
        raise SmokeError(f"the answer was changed on its way:\n{passed.text}\nand directly:\n{direct.text}")
    added = sorted(name for name in passed.headers.keys() - direct.headers.keys() if name.startswith("x-bursar"))
    if added:
        raise SmokeError(f"the answer has got the headers {added}")


def _without_own(answer: httpx.Response) -> bytes:
    return _OWN.sub(b"", answer.content).replace(_NO_USAGE_YET, b"")


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
