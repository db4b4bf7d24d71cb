"""A gateway node for tests: one organization's live state in a real Redis, and calls on their way through the core."""

from __future__ import annotations

import json
import time
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from kong_plugins.llm.admission import Admission
from kong_plugins.llm.authentication import Authenticator
from kong_plugins.llm.events import UsageEvent, decode_event
from kong_plugins.llm.grants import Grant
from kong_plugins.llm.keys import KeyRecord, issue_key, key_digest
from kong_plugins.llm.metering import FinishedCall
from kong_plugins.llm.protocols.answers import Answer
from kong_plugins.llm.release import Budget, PolicyDocument, Scope
from kong_plugins.llm.requests import Caller
from kong_plugins.llm.settings import EdgeSettings
from kong_plugins.llm.store import Store
from kong_plugins.llm.windows import period_at
from tests.llm.cast import CREDENTIAL_KEY, policy

PEPPER: Final = "a pepper of the gateway's tests"
HELLO: Final = {"model": "mini", "messages": [{"role": "user", "content": "Hello there"}]}
BUDGET: Final = Budget(id="b1", scope=Scope(kind="team", subject=None), unit="nusd", period="month")


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def body(**members: Any) -> bytes:
    return json.dumps(HELLO | members).encode()


class Gateway:
    """One node with one organization. A fresh one has the cast's policy, and a key for the team `search`."""

    def __init__(self, store: Store, organization: str) -> None:
        self.store = store
        self.organization = organization
        self.settings = EdgeSettings(redis_url="", key_pepper=PEPPER, credential_key=CREDENTIAL_KEY)
        self.authenticator = Authenticator(store, key_pepper=PEPPER)
        self.admission = Admission(store, self.settings)
        self.number = 0
        self.publish()
        store.set_ready(organization, 1)
        self.key_record, self.key = self.new_key()

    def publish(self, **changes: Any) -> PolicyDocument:
        """Put the cast's policy in force, with these changes."""
        self.number += 1
        document = policy(organization=self.organization, number=self.number, **changes)
        self.store.publish_policy(document)
        return document

    def new_key(self, **changes: Any) -> tuple[KeyRecord, str]:
        key_id, key = issue_key()
        record = KeyRecord(
            id=key_id,
            version=1,
            digest=key_digest(key, PEPPER),
            organization=self.organization,
            team="search",
            name="search-prod",
            tier="normal",
            active=True,
        )
        record = msgspec.structs.replace(record, **changes)
        self.store.put_key(record)
        return record, key

    def set_cap(self, cap_nusd: int, *, version: int = 1, team: str = "search") -> str:
        """Give the team's month a cap; return the period's name."""
        period = period_at("month", now_ms(), ZoneInfo("Europe/Berlin")).name
        self.store.set_cap(
            self.organization, BUDGET.id, team, period, cap=cap_nusd, version=version, thresholds_percent=()
        )
        return period

    def caller(self, **headers: str) -> Caller:
        named = {name.replace("_", "-"): [value] for name, value in headers.items()}
        return self.authenticator.authenticate({"authorization": [f"Bearer {self.key}"]} | named)

    def admit(self, **members: Any) -> Grant:
        """Admit a small chat request, with these members."""
        return self.admission.admit(self.caller(), body(**members), "openai_chat")

    def events(self) -> list[UsageEvent]:
        """What the stream has been given since the last look."""
        entries = self.store.read_events(self.organization, "test", most=100, block_ms=1)
        self.store.ack_events(self.organization, [entry.entry_id for entry in entries])
        decoded = [decode_event(entry.type, entry.data) for entry in entries]
        return [event for event in decoded if isinstance(event, UsageEvent)]


def answer(data: bytes, *, stream: bool = False, complete: bool = True) -> Answer:
    """An answer as the guard's tap keeps it."""
    return Answer(
        content_type="text/event-stream" if stream else "application/json",
        content_encoding="",
        head=data[:4096],
        tail=data[-16384:],
        size_bytes=len(data),
        event_count=data.count(b"\n\n"),
        complete=complete,
    )


def completion(prompt_tokens: int = 9, completion_tokens: int = 20) -> bytes:
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}
    return json.dumps({"model": "gpt-4o-mini-2024-07-18", "choices": [{}], "usage": usage}).encode()


def finished(grant: Grant, data: bytes = b"", **changes: Any) -> FinishedCall:
    """A call that was answered, as the guard reports it, with these changes."""
    fields: dict[str, Any] = {
        "meter": grant.meter,
        "applied": True,
        "connected": True,
        "source": "service",
        "status": 200,
        "answer": answer(data),
        "latency_ms": 120,
        "first_byte_ms": 40,
    }
    return FinishedCall(**(fields | changes))
