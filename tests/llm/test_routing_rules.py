"""The rules of routing, one case a line: what a call asks for, under which rules and circumstances, and what it gets.

The cast: a model `large` at openai, then at azure. It falls back to its `twin`, and degrades to `small`. `local` runs
on a machine of which nobody has said where it is, `claude` speaks another wire format, and `best` and `fast` are
aliases for `large` and `small`. The provider openai is in the region us; azure and google are in eu. The caller is a
normal key of the team search.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import pytest

from kong_plugins.llm.errors import BursarError
from kong_plugins.llm.estimates import estimate
from kong_plugins.llm.grants import Meter
from kong_plugins.llm.keys import Principal
from kong_plugins.llm.limits import Demand, Granted, Reservation, checks_for
from kong_plugins.llm.marks import Marks
from kong_plugins.llm.model_list import ModelList, models_at
from kong_plugins.llm.release import Deployment, Limit, Model, PolicyDocument, Scope, Team
from kong_plugins.llm.requests import Caller
from kong_plugins.llm.routes import RoutingTable
from tests.llm.cast import deployment, policy, principal
from tests.llm.gateway import BUDGET, Gateway, body, now_ms

# Every candidate, in the order in which they are tried; or the answer where there is none, which may go on (…).
ORDER: Final = """
asks for | where                                 | tries

large    |                                       | large@openai large@azure twin@google small@openai small@google
twin     |                                       | twin@google
nothing  |                                       | 404 The model 'nothing' does not exist.
claude   |                                       | 404 The model 'claude' is not served on this path.

best     |                                       | large@openai large@azure twin@google small@openai small@google
fast     |                                       | small@openai small@google
best     | team's best is twin                   | twin@google
own      | team's own is small                   | small@openai small@google
own      |                                       | 404 The model 'own' does not exist.
best     | team's best is claude                 | 404 The model 'claude' (for which 'best' stands) is not served on …
gone     | team's gone is nothing                | 404 The model 'gone' does not exist.
large    | team's large is small                 | large@openai large@azure twin@google small@openai small@google

large    | key insists                           | large@openai large@azure
best     | key insists                           | large@openai large@azure

large    | team uses azure                       | large@azure
large    | team uses google                      | 403 None of your team's providers (google) serves the model …
large    | team uses openai google               | large@openai twin@google small@openai small@google
large    | team prefers azure                    | large@azure large@openai twin@google small@openai small@google
large    | team prefers google                   | large@openai large@azure twin@google small@google small@openai
large    | team prefers google azure             | large@azure large@openai twin@google small@google small@openai
large    | team uses azure google, team prefers google | large@azure twin@google small@google

large    | team may large                        | large@openai large@azure
large    | team may large small                  | large@openai large@azure small@openai small@google
large    | team may small                        | 403 Your team may not use the model 'large'.
best     | team may small                        | 403 Your team may not use the model 'large' (for which 'best' …
large    | key may large twin                    | large@openai large@azure twin@google
large    | key may small                         | 403 This key may not use the model 'large'.
small    | team may large, key may small         | 403 Your team may not use the model 'small'.
large    | tier experimental may small           | large@openai large@azure twin@google small@openai small@google
large    | tier experimental may small, key is experimental | 403 A key of the tier experimental may not use the …
fast     | tier experimental may small, key is experimental | small@openai small@google
large    | tier normal may large                 | large@openai large@azure
large    | tier critical may large, tier normal may small, key is critical | large@openai large@azure

large    | organization in eu                    | large@azure twin@google small@google
large    | team in eu                            | large@azure twin@google small@google
large    | team in us                            | large@openai small@openai
large    | organization in eu us, team in eu     | large@azure twin@google small@google
large    | organization in eu, team in eu us     | large@azure twin@google small@google
large    | organization in eu, team in us        | 403 Your data must stay in no region, where nobody serves the …
large    | team in asia                          | 403 Your data must stay in asia, where nobody serves the model …
local    |                                       | local@cellar
local    | team in eu                            | 403 Your data must stay in eu, where nobody serves the model …
twin     | team in us                            | 403 Your data must stay in us, where nobody serves the model …
best     | team in us                            | large@openai small@openai
best     | team's best is local, team in eu      | 403 Your data must stay in eu, where nobody serves the model …
large    | team in us, team prefers azure        | large@openai small@openai
large    | team in eu, team uses openai          | 403 None of your team's providers (openai) serves the model …
"""

# Who serves the call, after trying those before; or the refusal.
DECISIONS: Final = """
asks for | while                                 | is served by

large    |                                       | large@openai
large    | openai is full                        | large@azure
large    | large is full                         | twin@google
large    | large is full, twin is full           | small@openai
large    | large is full, google is full         | small@openai
large    | openai is full, azure is full, google is full | 429 team (provider google) limit of requests per minute
large    | large is full, key insists            | 429 team (model large) limit of requests per minute
best     | large is full                         | twin@google
best     | best is full                          | large@openai

large    | budget at 79 %                        | large@openai
large    | budget at 80 %                        | small@openai
best     | budget at 80 %                        | small@openai
large    | budget at 80 %, small is full         | 429 team (model small) limit of requests per minute
large    | budget at 80 %, key insists           | large@openai
large    | budget at 80 %, team may large twin   | large@openai
large    | budget at 80 %, team prefers google   | small@google
large    | budget at 80 %, team in eu            | small@google
large    | budget at 80 %, team uses azure       | large@azure
small    | budget at 80 %                        | small@openai
twin     | budget at 80 %                        | twin@google
large    | budget at 100 %                       | 429 team monthly budget

large    | openai fails                          | large@azure
large    | openai fails, azure fails             | twin@google
large    | openai fails, azure is full           | twin@google
large    | large is full, google fails           | small@openai
large    | openai fails, azure is full, google is full | large@openai
large    | openai fails, azure fails, google fails | large@openai
large    | openai fails, key insists             | large@azure
large    | openai fails, azure fails, key insists | large@openai
large    | openai fails, team prefers azure      | large@azure
large    | openai fails, team may large          | large@azure
large    | openai fails, azure fails, team may large small | small@google
large    | openai fails, budget at 80 %          | small@google
small    | openai fails                          | small@google
best     | openai fails, azure fails             | twin@google
large    | azure fails, team in eu               | twin@google
large    | azure fails, google fails, team in eu | large@azure
large    | openai fails, team in us              | large@openai
large    | azure fails, team uses azure          | large@azure

large    | team in eu, azure is full             | twin@google
large    | team in eu, azure is full, google is full | 429 team (provider google) limit of requests per minute
large    | team in us, openai is full            | 429 team (provider openai) limit of requests per minute
large    | team in eu, large is full, budget at 80 % | small@google
best     | team in eu, team's best is twin, google is full | 429 team (provider google) limit of requests per minute
"""

# What GET /v1/models lists for the key.
LISTS: Final = """
where                                            | lists

                                                 | best claude fast large local small twin
team's own is small                              | best claude fast large local own small twin
team's best is nothing                           | claude fast large local small twin
team may small local                             | fast local small
key may large                                    | best large
tier normal may twin                             | twin
team in eu                                       | best fast large small twin
team uses cellar                                 | local
team uses openai, team in us                     | best fast large small
"""

REGIONS: Final = {"openai": "us", "azure": "eu", "google": "eu", "anthropic": "us", "cellar": None}
SERVED: Final = {
    "large": ("openai", "azure"),
    "twin": ("google",),
    "small": ("openai", "google"),
    "local": ("cellar",),
    "claude": ("anthropic",),
}


@dataclass
class Circumstances:
    """What the phrases of a case come to."""

    document: dict[str, Any] = field(default_factory=dict)
    team: dict[str, Any] = field(default_factory=dict)
    key: dict[str, Any] = field(default_factory=dict)
    tier_models: dict[Any, tuple[str, ...]] = field(default_factory=dict)
    full: list[str] = field(default_factory=list)
    failing: list[str] = field(default_factory=list)
    used_percent: int | None = None
    insists: bool = False

    @classmethod
    def read(cls, phrases: str) -> Circumstances:
        found = cls()
        for phrase in filter(None, phrases.split(", ")):
            found._note(phrase.split())
        return found

    def _note(self, words: list[str]) -> None:
        match words:
            case ["organization", "in", *regions]:
                self.document["regions"] = tuple(regions)
            case ["team", "in", *regions]:
                self.team["regions"] = tuple(regions)
            case ["team", "uses", *providers]:
                self.team["providers"] = tuple(providers)
            case ["team", "prefers", *providers]:
                self.team["preferred_providers"] = tuple(providers)
            case ["team's", alias, "is", model]:
                self.team["aliases"] = {alias: model}
            case ["team", "may", *models]:
                self.team["models"] = tuple(models)
            case ["key", "may", *models]:
                self.key["models"] = tuple(models)
            case ["tier", tier, "may", *models]:
                self.tier_models[tier] = tuple(models)
            case ["key", "is", tier]:
                self.key["tier"] = tier
            case ["key", "insists"]:
                self.insists = True
            case [name, "is", "full"]:
                self.full.append(name)
            case [provider, "fails"]:
                self.failing.append(provider)
            case ["budget", "at", percent, "%"]:
                self.used_percent = int(percent)
            case _:
                raise ValueError(f"no case says: {' '.join(words)}")

    def fields(self) -> dict[str, Any]:
        """The policy under which these hold."""
        budgets = () if self.used_percent is None else (msgspec.structs.replace(BUDGET, degrade_at_percent=80),)
        return {
            "deployments": tuple(served(model, provider) for model in SERVED for provider in SERVED[model]),
            "models": tuple(map(model_named, SERVED)),
            "teams": (Team(id="search", tier="normal", **self.team),),
            "aliases": {"best": "large", "fast": "small"},
            "tier_models": self.tier_models,
            "limits": tuple(map(narrow_limit, self.full)),
            "budgets": budgets,
            **self.document,
        }


def served(model: str, provider: str) -> Deployment:
    return deployment(
        id=f"{model}@{provider}",
        provider=provider,
        protocol="anthropic_messages" if model == "claude" else "openai_chat",
        region=REGIONS[provider],
        order=SERVED[model].index(provider),
    )


def model_named(name: str) -> Model:
    return Model(
        name=name,
        context_window_tokens=128_000,
        max_output_tokens=16_384,
        default_output_tokens=1024,
        deployments=tuple(f"{name}@{provider}" for provider in SERVED[name]),
        fall_back_to=("twin",) if name == "large" else (),
        degrade_to=("small",) if name == "large" else (),
    )


def narrow_limit(name: str) -> Limit:
    """A limit of the team at a provider, or for a model, that has room for one call."""
    about = {"provider": name} if name in REGIONS else {"model": name}
    scope = Scope(kind="team", subject=None, **about)
    return Limit(id=name, scope=scope, unit="requests", amount=1, window_ms=60_000)


def lines(table: str) -> list[list[str]]:
    """The cells of a table's lines below its heading."""
    return [[cell.strip() for cell in line.split("|")] for line in table.strip().splitlines()[1:] if line]


def use(gateway: Gateway, percent: int) -> None:
    """Have so much of the team's budget held, and several calls' worth of it free, if it is not all of it."""
    gateway.publish(**Circumstances(used_percent=percent).fields())
    period = gateway.set_cap(10**12)
    gateway.admit(model="local", max_tokens=16_000)
    state = gateway.store.budget_state(gateway.organization, BUDGET.id, "search", period)
    assert state is not None
    gateway.set_cap(state.held * 100 // percent, version=2)


def fill(gateway: Gateway, document: PolicyDocument) -> None:
    """Use every limit up."""
    for limit in document.limits:
        demand = Demand(request_model=limit.scope.model or "", provider=limit.scope.provider, tokens=0, cost_nusd=0)
        limits, _ = checks_for(document, principal(), demand, now_ms=now_ms())
        filling = Reservation(
            organization=gateway.organization,
            request_id=f"fills-{limit.id}",
            policy_number=document.number,
            lease_ms=60_000,
            hold_nusd=0,
            hold_tokens=0,
            limits=limits,
            budgets=(),
            draft=b"{}",
        )
        assert isinstance(gateway.store.reserve(filling), Granted)


def fail(gateway: Gateway, providers: list[str]) -> None:
    """Have each deployment at these providers be failing."""
    failing = [f"{model}@{provider}" for model in SERVED for provider in SERVED[model] if provider in providers]
    for name in failing:
        Marks(gateway.store).note(
            gateway.organization,
            name,
            "failed",
            request_id="before",
            reserved_at_ms=0,
            status=503,
            passed_over_ms=60_000,
        )


def document_of(circumstances: Circumstances) -> PolicyDocument:
    return policy(**circumstances.fields())


def caller(circumstances: Circumstances) -> Principal:
    return principal(**circumstances.key)


def tried(circumstances: Circumstances, asked_for: str) -> str:
    table = RoutingTable(document_of(circumstances))
    may_degrade = not circumstances.insists
    try:
        found = table.candidates(
            caller(circumstances), asked_for, "openai_chat", request_id="any", may_degrade=may_degrade
        )
    except BursarError as refusal:
        return f"{refusal.http_status} {refusal.message}"
    return " ".join(each.deployment.id for each in found)


def admitted(gateway: Gateway, who: Caller, asked: bytes) -> Meter | BursarError:
    try:
        return gateway.admission.admit(who, asked, "openai_chat").meter
    except BursarError as refusal:
        return refusal


@pytest.mark.parametrize(("asked_for", "where", "tries"), lines(ORDER), ids=lambda cell: cell)
def test_candidates_are_tried_in_this_order(asked_for: str, where: str, tries: str) -> None:
    answer = tried(Circumstances.read(where), asked_for)

    assert answer.startswith(tries.removesuffix("…")) if tries.endswith("…") else answer == tries


@pytest.mark.parametrize(("asked_for", "meanwhile", "outcome"), lines(DECISIONS), ids=lambda cell: cell)
def test_the_first_that_can_serves_the_call(gateway: Gateway, asked_for: str, meanwhile: str, outcome: str) -> None:
    circumstances = Circumstances.read(meanwhile)
    if circumstances.used_percent is not None:
        use(gateway, circumstances.used_percent)
    fill(gateway, gateway.publish(**circumstances.fields()))
    fail(gateway, circumstances.failing)
    _, key = gateway.new_key(**circumstances.key)
    who = gateway.caller(authorization=f"Bearer {key}", x_bursar_degrade="0" if circumstances.insists else "1")
    asked = body(model=asked_for, max_tokens=400)

    expected = estimate(gateway.admission, who, asked, "openai_chat")
    decided = admitted(gateway, who, asked)

    if isinstance(decided, BursarError):
        assert f"{decided.http_status} {decided.scope}" == outcome
        assert expected.refusal is not None
        assert expected.refusal.scope == decided.scope
    else:
        facts = decided.facts
        meant = {"best": "large", "fast": "small"}.get(asked_for, asked_for)
        assert facts.deployment == outcome
        assert facts.request_model == outcome.partition("@")[0]
        assert facts.degraded_from == (None if facts.request_model == meant else meant)
        assert (expected.deployment, expected.passed_over) == (outcome, facts.candidates[:-1])


@pytest.mark.parametrize(("where", "names"), lines(LISTS), ids=lambda cell: cell)
def test_the_list_of_models_has_what_the_key_may_use(where: str, names: str) -> None:
    circumstances = Circumstances.read(where)

    listed = models_at("/v1/models", RoutingTable(document_of(circumstances)), caller(circumstances))

    assert isinstance(listed, ModelList)
    assert " ".join(each.id for each in listed.data) == names
