"""What each wire format of the provider provides: how it is asked, how it answers, and how it refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from aiohttp import web

from demo.catalog import DemoModel
from demo.simulator.books import Behaviour, Call
from demo.simulator.errors import ProviderError

EVENT_STREAM = "text/event-stream; charset=utf-8"


class Asked(Protocol):
    """A request that can be served, as far as the books want to know of it."""

    @property
    def model(self) -> DemoModel: ...

    @property
    def stream(self) -> bool: ...

    @property
    def input_tokens(self) -> int: ...


class Writing(Protocol):
    """An answer, and the ways to write it: whole, or an opening, one piece a token, and a closing.

    Of its output, `thought_tokens` are billed before the first piece and not sent; then each of `choices` has `tokens`.
    """

    content_type: str
    tokens: int
    thought_tokens: int
    choices: int

    def whole(self) -> dict[str, Any] | bytes: ...

    def opening(self) -> bytes: ...

    def words(self) -> Iterator[bytes]: ...

    def closing(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Form:
    """One wire format. `account` finds the caller's key; `read` checks a body for a model, with what the request says
    outside it; `enter` puts what the cache does into the books. `verify` refuses a request, given its body, whose
    signature is wrong; `told` are headers of an answer in one piece, once the call's tokens have been entered."""

    protocol: str
    account: Callable[[web.Request], str | None]
    call_id: Callable[[], str]
    read: Callable[[dict[str, Any], DemoModel, web.Request], Asked]
    answer: Callable[[Any, Call, Behaviour], Writing]
    error_body: Callable[[ProviderError], Any]
    headers: Callable[[int], dict[str, str]]
    enter: Callable[[Call, Any, Behaviour], None]
    verify: Callable[[web.Request, bytes], None] = lambda _request, _body: None
    told: Callable[[Call], dict[str, str]] = lambda _call: {}


def enter_cached(call: Call, asked: Asked, behaviour: Behaviour) -> None:
    """The cache reads what the behaviour says, as far as there is so much."""
    call.cache_read_tokens = min(behaviour.cache_read_tokens, asked.input_tokens)


def bearer(request: web.Request) -> str | None:
    """The key in the header `Authorization: Bearer <key>`."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None
