"""Calls as gateways make them, without gateways: each is reserved and posted through the real store."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import msgspec
import redis

from control_plane.keys.selectors import speaking_key_ids
from control_plane.teams.models import Organization
from kong_plugins.llm.connection import Connection
from kong_plugins.llm.keys import Principal
from kong_plugins.llm.limits import Demand, Denied, Granted, Reservation, checks_for
from kong_plugins.llm.store import PostResult, Store


@dataclass(frozen=True)
class Traffic:
    """An organization's calls, now or at the instant at which the store's clock stands."""

    store: Store
    organization: Organization
    # The release that each call was admitted under.
    releases: dict[str, int] = field(default_factory=dict)
    at_ms: int | None = None

    @property
    def slug(self) -> str:
        return self.organization.slug

    def call(self, *, amount_nusd: int | None = 1_000, **facts: Any) -> str:
        """One call that cost so much; returns its request id."""
        request_id = self.hold(**facts)
        self.post(request_id, amount_nusd=amount_nusd, **facts)
        return request_id

    def hold(self, *, lease_ms: int = 60_000, unpriced: bool = False, **facts: Any) -> str:
        """A call that is admitted and not over."""
        request_id = uuid.uuid4().hex
        reservation = self._reservation(request_id, lease_ms, facts)
        if unpriced:
            reservation = msgspec.structs.replace(reservation, hold_nusd=None, budgets=())
        answer = self.store.reserve(reservation)
        assert isinstance(answer, Granted), answer
        return request_id

    def refused(self, **facts: Any) -> str:
        """A call that a limit or a budget refuses."""
        request_id = uuid.uuid4().hex
        assert isinstance(self.store.reserve(self._reservation(request_id, 60_000, facts)), Denied)
        return request_id

    def flood(self, number: int, **facts: Any) -> None:
        """So many calls that a limit or a budget refuses, as fast as Redis answers."""
        calls = [self._reservation(uuid.uuid4().hex, 60_000, facts) for _ in range(number)]
        assert {type(self.store.reserve(call)) for call in calls} == {Denied}

    def post(self, request_id: str, *, amount_nusd: int | None = 1_000, **facts: Any) -> PostResult:
        """The end of a call, with what it cost."""
        end: dict[str, Any] = {
            "outcome": "completed",
            "quality": "exact",
            "http_status": 200,
            "input_tokens": 10,
            "output_tokens": 5,
        }
        fields = end | self._fields(request_id, facts)
        tokens = fields["input_tokens"] + fields["output_tokens"]
        return self.store.post(
            self.slug, request_id, amount_nusd=amount_nusd, tokens=tokens, event_fields=msgspec.json.encode(fields)
        )

    def void(self, request_id: str, **facts: Any) -> PostResult:
        """The end of a call that no provider has billed."""
        fields = self._fields(request_id, facts) | {"outcome": "not_sent"}
        return self.store.void(self.slug, request_id, event_fields=msgspec.json.encode(fields))

    def _reservation(self, request_id: str, lease_ms: int, facts: dict[str, Any]) -> Reservation:
        document = self.store.get_policy(self.slug)
        assert document is not None
        self.releases[request_id] = document.number
        fields = self._fields(request_id, facts)
        caller = Principal(
            organization=self.slug,
            team=fields["team"],
            key=fields["key"],
            key_name="",
            tier=fields["tier"],
            user=fields["user"],
            speaks_for_users=fields["key"] in speaking_key_ids(self.organization.pk),
        )
        demand = Demand(request_model=fields["request_model"], tokens=100, cost_nusd=5_000)
        limits, budgets = checks_for(document, caller, demand, now_ms=self.at_ms or time.time_ns() // 1_000_000)
        return Reservation(
            organization=self.slug,
            request_id=request_id,
            policy_number=document.number,
            lease_ms=lease_ms,
            hold_nusd=5_000,
            hold_tokens=100,
            limits=limits,
            budgets=budgets,
            draft=msgspec.json.encode(fields),
            tier=caller.tier,
        )

    def _fields(self, request_id: str, facts: dict[str, Any]) -> dict[str, Any]:
        usual = {
            "team": "search",
            "key": "search-key01",
            "user": None,
            "request_model": "mini",
            "provider": "openai",
            "protocol": "openai_chat",
            "tier": "normal",
            "release": self.releases.get(request_id),
        }
        return {"request_id": request_id, "organization": self.slug} | usual | facts


def store_at(redis_address: str, at_ms: int) -> Store:
    """A store whose clock stands still."""
    client = redis.Redis.from_url(redis_address, protocol=2)
    return Store(Connection(client, clock=f"local function now_ms() return {at_ms} end"))
