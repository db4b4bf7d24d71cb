"""The month behind the demo's company: calls of the past weeks, as gateways would have written them.

Office hours, weekends, a provider that failed one afternoon, a nightly job that ran away, budgets that came to their
end. Drawn with a fixed seed. The simulated provider's books begin with the system and hold nothing of it.
"""

from __future__ import annotations

import json
import math
import random
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from demo.catalog import DemoModel, demo_models
from demo.simulator.bill import amount_nusd

_SEED: Final = 20
_DAYS: Final = 35
# Of a hundred calls that fit no more, so many are made all the same.
_TRIED_AGAIN: Final = 0.3
_INCIDENT_DAYS_AGO: Final = 6
_RUNAWAY_DAYS_AGO: Final = 4
_RUNAWAY_TIMES: Final = 9
# The share of a day's calls in each hour.
_RHYTHMS: Final = {
    "office": [0, 0, 0, 0, 0, 0, 1, 3, 8, 11, 12, 10, 6, 9, 12, 11, 9, 6, 3, 1, 1, 1, 0, 0],
    "always": [2, 1, 1, 1, 1, 2, 3, 5, 7, 8, 8, 7, 6, 7, 8, 8, 7, 6, 5, 5, 4, 4, 3, 2],
    "night": [9, 16, 20, 18, 12, 6, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 3, 6],
}
_WEEKEND: Final = {"office": 0.06, "always": 0.55, "night": 0.9}
_NUSD_PER_USD: Final = 1_000_000_000


@dataclass(frozen=True, kw_only=True)
class Key:
    """A key of the demo as the control plane knows it."""

    id: str
    team: str
    tier: str
    tags: tuple[str, ...]


@dataclass(kw_only=True)
class Company:
    """What the calls are made of: `deployments` are ids by model; `caps_nusd` end a team's month when it has spent so
    much, and `degrade_from_nusd` has its calls go to lesser models."""

    organization: str
    now: datetime
    month_start: datetime
    traffic: list[dict[str, Any]]
    users: list[str]
    keys: dict[str, Key]
    deployments: dict[str, tuple[str, str]]
    degrade: dict[str, list[str]]
    caps_nusd: dict[str, int] = field(default_factory=dict)
    degrade_from_nusd: dict[str, int] = field(default_factory=dict)


def month_so_far_nusd(company: Company) -> Counter[str]:
    """What each team would have spent this month without any budget."""
    spent: Counter[str] = Counter()
    for event in events(company):
        if event["reserved_at_ms"] >= company.month_start.timestamp() * 1000:
            spent[event["team"]] += event["amount_nusd"]
    return spent


def write_lines(company: Company) -> Iterator[str]:
    """The events as lines of JSON."""
    for event in events(company):
        yield json.dumps(event) + "\n"


def events(company: Company) -> Iterator[dict[str, Any]]:
    """Every call, in the order in which they were made."""
    dice = random.Random(_SEED)
    models = {model.name: model for model in demo_models()}
    calls = sorted(
        (call for source in company.traffic for call in _calls(company, source, dice)), key=lambda call: call[0]
    )
    spent: Counter[str] = Counter()
    for at, source in calls:
        key = company.keys[source["key"]]
        is_this_month = at >= company.month_start
        cap = company.caps_nusd.get(key.team) if is_this_month else None
        event = _event(company, models, source, at, dice, spent[key.team] if is_this_month else 0)
        if cap is not None and spent[key.team] + event["amount_nusd"] > cap:
            if dice.random() < _TRIED_AGAIN:
                yield _refused(event, "budget", "team monthly budget")
            continue
        if is_this_month:
            spent[key.team] += event["amount_nusd"]
        yield event


def _calls(company: Company, source: dict[str, Any], dice: random.Random) -> Iterator[tuple[datetime, dict[str, Any]]]:
    """When one key has called."""
    shares = _RHYTHMS[source["rhythm"]]
    midnight = company.now.replace(hour=0, minute=0, second=0, microsecond=0)
    for days_ago in range(_DAYS, -1, -1):
        day = midnight - timedelta(days=days_ago)
        growth = 1 + (_DAYS - days_ago) / 120
        rest = _WEEKEND[source["rhythm"]] if day.weekday() >= 5 else 1.0
        number = source["calls_a_day"] * growth * rest * dice.uniform(0.8, 1.2)
        if source.get("runaway") and days_ago == _RUNAWAY_DAYS_AGO:
            number *= _RUNAWAY_TIMES
        for hour in dice.choices(range(24), shares, k=round(number)):
            at = day + timedelta(hours=hour, seconds=dice.uniform(0, 3_600))
            if at < company.now:
                yield at, source


def _event(
    company: Company,
    models: dict[str, DemoModel],
    source: dict[str, Any],
    at: datetime,
    dice: random.Random,
    spent: int,
) -> dict[str, Any]:
    key = company.keys[source["key"]]
    (asked,) = dice.choices(list(source["models"]), list(source["models"].values()))
    is_degraded = asked in company.degrade and spent >= company.degrade_from_nusd.get(key.team, math.inf)
    model = models[company.degrade[asked][0] if is_degraded else asked]
    deployment, provider = company.deployments[model.name]
    input_tokens = max(20, round(source["input_tokens"] * dice.lognormvariate(0, 0.5)))
    output_tokens = round(source["output_tokens"] * dice.lognormvariate(0, 0.6))
    cached = round(input_tokens * dice.choice([0, 0, 0.3, 0.6]))
    first_ms = round(280 * dice.lognormvariate(0, 0.35))
    at_ms, latency_ms = round(at.timestamp() * 1000), first_ms + output_tokens * 2
    request_id = str(uuid.UUID(int=dice.getrandbits(128), version=4))
    amount = amount_nusd(model.price, input_tokens=input_tokens, cache_read_tokens=cached, output_tokens=output_tokens)
    event = {
        "id": f"{request_id}:1",
        "request_id": request_id,
        "kind": "posted",
        "outcome": "completed",
        "http_status": 200,
        "organization": company.organization,
        "team": key.team,
        "key": key.id,
        "user": _user(company, source, dice),
        "tags": key.tags,
        "tier": key.tier,
        "protocol": model.protocols[0],
        "provider": provider,
        "deployment": deployment,
        "request_model": model.name,
        "response_model": model.snapshot,
        "degraded_from": asked if is_degraded else None,
        "input_tokens": input_tokens,
        "cache_read_tokens": cached,
        "output_tokens": output_tokens,
        "quality": "exact",
        "amount_nusd": amount,
        "hold_nusd": amount * 2,
        "seq": 0,
        "reserved_at_ms": at_ms,
        "posted_at_ms": at_ms + latency_ms,
        "latency_ms": latency_ms,
        "first_token_ms": first_ms,
    }
    return _befallen(company, event, at, dice)


def _befallen(company: Company, event: dict[str, Any], at: datetime, dice: random.Random) -> dict[str, Any]:
    """The same call, unless the provider failed it, its client left, or a limit stood in its way."""
    is_incident = (company.now.date() - at.date()).days == _INCIDENT_DAYS_AGO and at.hour in (14, 15)
    drawn = dice.random()
    if drawn < (0.45 if is_incident else 0.012):
        return _unpaid(event) | {"kind": "voided", "outcome": "provider_error", "http_status": dice.choice([500, 503])}
    if drawn > 0.993:
        return event | {"outcome": "abandoned", "quality": "partial"}
    if drawn > 0.988:
        return event | {"outcome": "interrupted", "quality": "partial"}
    if drawn > 0.976 and event["tags"] and event["tags"][0] in ("batch", "lab"):
        return _refused(event, "limit", "team limit of requests per minute")
    return event


def _user(company: Company, source: dict[str, Any], dice: random.Random) -> str | None:
    """One of the key's own users, of whom some call more than others."""
    if not source["users"]:
        return None
    first = sum(each["users"] for each in company.traffic[: company.traffic.index(source)])
    own = company.users[first : first + source["users"]]
    return dice.choices(own, range(len(own), 0, -1))[0]


def _unpaid(event: dict[str, Any]) -> dict[str, Any]:
    tokens = dict.fromkeys(("input_tokens", "cache_read_tokens", "output_tokens"), 0)
    return event | tokens | {"amount_nusd": 0, "quality": None, "response_model": None, "first_token_ms": None}


def _refused(event: dict[str, Any], outcome: str, rule: str) -> dict[str, Any]:
    nowhere = {"provider": None, "deployment": None, "latency_ms": None, "http_status": None}
    answer = {"kind": "refused", "outcome": outcome, "refusing_scope": rule, "posted_at_ms": event["reserved_at_ms"]}
    return _unpaid(event) | nowhere | answer


def rounded_cap_nusd(spent_nusd: int, used_percent: int) -> int:
    """A cap in whole dollars of two figures, of which about so much is spent; at least ten dollars."""
    dollars = max(10, spent_nusd * 100 // used_percent // _NUSD_PER_USD)
    step: int = 10 ** max(0, len(str(dollars)) - 2)
    return max(10, dollars // step * step) * _NUSD_PER_USD
