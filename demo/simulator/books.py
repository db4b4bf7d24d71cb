"""Accounts: how the provider behaves towards each, and the books of what it has billed to each.

A token is entered before it is sent, so that what a client has seen is never more than what stands in the books.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from demo.catalog import DemoModel
from demo.simulator.bill import amount_nusd

ACCOUNT_PREFIX = "sk-sim-"


class Behaviour(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How an account's next calls are answered.

    `output_tokens`: None lets the prompt decide, "max" fills the request's limit exactly; a number is cut at that
    limit, as a provider does. `fail_times` None means every call until told otherwise. A stream is broken off
    after `cut_after_tokens`. `cache_read_tokens` is cut at the call's input tokens. Anthropic's cache writes
    `cache_write_tokens` of what is left, for as long as the request asks for, or nothing. Gemini thinks for
    `thought_tokens` before it answers, unless the request bounds it to less.
    """

    first_token_ms: int = 0
    token_ms: float = 0
    output_tokens: int | Literal["max"] | None = None
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    thought_tokens: int = 0
    fail_status: int | None = None
    fail_times: int | None = None
    cut_after_tokens: int | None = None

    def __post_init__(self) -> None:
        tokens = (self.cache_read_tokens, self.cache_write_tokens, self.thought_tokens)
        numbers = (self.first_token_ms, self.token_ms, *tokens, self.fail_times, self.cut_after_tokens)
        if any(number is not None and number < 0 for number in (*numbers, self.output_tokens) if number != "max"):
            raise ValueError("a behaviour's numbers cannot be negative")
        if self.fail_status is not None and not 400 <= self.fail_status <= 599:
            raise ValueError("fail_status must be an HTTP error, 400 to 599")


@dataclass(slots=True)
class Call:
    """One line of the books. Refused calls stand here too, with no tokens; without an account where the
    key was not one of ours. `header_names` are those of the request, so that a test can ask what a
    gateway has let through, `body_sha256` the digest of its body, which says whether it has been changed."""

    account: str | None
    client_request_id: str | None
    header_names: tuple[str, ...] = ()
    body_sha256: str = ""
    model: DemoModel | None = None
    stream: bool = False
    status: int = 200
    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    output_tokens: int = 0
    input_audio_tokens: int = 0
    input_image_tokens: int = 0
    pieces: dict[str, int] = field(default_factory=dict)
    finished: bool = False
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(15)}")

    @property
    def amount_nusd(self) -> int:
        """What this call costs with the tokens sent so far."""
        if self.model is None:
            return 0
        return amount_nusd(
            self.model.price,
            input_tokens=self.input_tokens,
            cache_read_tokens=self.cache_read_tokens,
            cache_write_tokens=self.cache_write_tokens,
            cache_write_1h_tokens=self.cache_write_1h_tokens,
            output_tokens=self.output_tokens,
            input_audio_tokens=self.input_audio_tokens,
            input_image_tokens=self.input_image_tokens,
            pieces=self.pieces,
        )

    def summary(self) -> str:
        """The line in the provider's log."""
        how = "streamed" if self.stream else "whole"
        end = "finished" if self.finished else "broken off"
        name = self.model.name if self.model else "no model"
        return f"{name}, {how}: {self.input_tokens} tokens in, {self.output_tokens} out, {self.amount_nusd} nUSD, {end}"

    def as_row(self) -> dict[str, Any]:
        """The line as `GET /_books` shows it."""
        names = ("id", "client_request_id", "header_names", "body_sha256", "account", "stream", "status", "finished")
        tokens = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens", "output_tokens")
        counts = (*tokens, "pieces")
        return {"model": self.model and self.model.name, "amount_nusd": self.amount_nusd} | {
            name: getattr(self, name) for name in names + counts
        }


class Books:
    """Behaviour and calls of every account, in memory: a test reads them while the provider lives."""

    def __init__(self, standard: Behaviour) -> None:
        self._standard = standard
        self._behaviours: dict[str, Behaviour] = {}
        self._calls: list[Call] = []

    def behaviour(self, account: str) -> Behaviour:
        return self._behaviours.get(account, self._standard)

    def set_behaviour(self, account: str, behaviour: Behaviour) -> None:
        self._behaviours[account] = behaviour

    def enter(self, call: Call) -> Call:
        self._calls.append(call)
        return call

    def take_failure(self, account: str) -> int | None:
        """The HTTP status with which this call is to fail, counting it off; None where it is to succeed."""
        behaviour = self.behaviour(account)
        if behaviour.fail_status is None or behaviour.fail_times == 0:
            return None
        if behaviour.fail_times is not None:
            self._behaviours[account] = msgspec.structs.replace(behaviour, fail_times=behaviour.fail_times - 1)
        return behaviour.fail_status

    def calls(self, account: str | None) -> Iterable[Call]:
        """The calls of one account in the order of their arrival; of all where no account is named."""
        return (call for call in self._calls if account is None or call.account == account)

    def forget(self, account: str | None) -> None:
        """Start with empty books; calls that still run are no longer shown."""
        self._calls = [] if account is None else [call for call in self._calls if call.account != account]
