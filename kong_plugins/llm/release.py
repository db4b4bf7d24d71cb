"""The contract that goes down: the policy document that a release publishes and every gateway enforces.

One document an organization, immutable, numbered and checksummed. Caps and keys are live state beside it
(`store.py`), because a raised cap or a revoked key must count on the very next request.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

from kong_plugins.llm.prices import LaterPrice, Price
from kong_plugins.llm.windows import PeriodKind

ScopeKind = Literal["organization", "team", "key", "user"]
Tier = Literal["critical", "normal", "experimental"]
LimitUnit = Literal["requests", "tokens", "concurrency"]
BudgetUnit = Literal["nusd", "tokens", "requests"]


class Scope(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whom a limit or budget is about: the subject's id, or None for each subject of the kind by itself;
    optionally only for one request model, one provider, or keys with one tag."""

    kind: ScopeKind
    subject: str | None
    model: str | None = None
    provider: str | None = None
    tag: str | None = None


class Deployment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model at one provider. `base_url` has a scheme, a host, a port and maybe a path prefix such as /v1;
    `{model}` in it stands for the provider's name of the model, and a query in it for a part of every call's.

    `credential` names an entry of `PolicyDocument.credentials`; `authentication` is the way in which it is presented,
    None for the wire format's own. Deployments of a model are tried in ascending `order`, and take turns by `weight`
    where that is equal. `later_prices` follow its price, in the order in which they come into effect. The provider
    transcribes no sound of more than `longest_audio_s` at once; None where it does not say so.
    """

    id: str
    provider: str
    protocol: str
    base_url: str
    provider_model: str
    credential: str
    price: Price | None = None
    region: str | None = None
    vendor: str = "openai"
    authentication: str | None = None
    weight: int = 1
    order: int = 0
    later_prices: tuple[LaterPrice, ...] = ()
    longest_audio_s: int | None = None

    def price_at(self, at_ms: int) -> Price | None:
        """What a call costs that is admitted at an instant; None where that is not known."""
        begun = [later.price for later in self.later_prices if later.from_ms <= at_ms]
        price = begun[-1] if begun else self.price
        return price.at(at_ms) if price else None


class Model(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model as clients ask for it, with its deployments.

    Where each of them is failing or refused, those of the request models that it is to `fall_back_to` are tried, and
    then those of `degrade_to`, which are also for budgets that degrade; what a caller may not use is left out.
    """

    name: str
    context_window_tokens: int
    max_output_tokens: int
    default_output_tokens: int
    deployments: tuple[str, ...]
    fall_back_to: tuple[str, ...] = ()
    degrade_to: tuple[str, ...] = ()


class Team(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`models` are the request models that the team may use, `providers` where, and `regions` where its data must stay;
    None means all. Deployments of the `preferred_providers` are tried first, in that order. What its `aliases` stand
    for goes before what those of the organization do.
    """

    id: str
    tier: Tier
    models: tuple[str, ...] | None = None
    providers: tuple[str, ...] | None = None
    preferred_providers: tuple[str, ...] = ()
    regions: tuple[str, ...] | None = None
    aliases: dict[str, str] = {}


class Limit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """At most `amount` units in any window of `window_ms`; a shadow limit counts and reports, never refuses.

    A call that does not fit may wait `queue_ms` in the limit's line. `tier_shares_percent` is how much of the amount
    the calls of a tier may use together; all of it where a tier is not named.
    """

    id: str
    scope: Scope
    unit: LimitUnit
    amount: int
    window_ms: int
    shadow: bool = False
    queue_ms: int = 0
    tier_shares_percent: dict[Tier, int] = {}


class Budget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rule of a budget. Its cap in each period is live state, `Store.set_cap`; of a budget for each user by itself,
    whose users nobody knows beforehand, `each_cap` is the cap of those for whom none has been set.

    `queue_ms` and `tier_shares_percent` are as of a limit. From `degrade_at_percent` of the cap on, the candidates of
    the model that was asked for are passed over, if others follow.
    """

    id: str
    scope: Scope
    unit: BudgetUnit
    period: PeriodKind
    hard: bool = True
    shadow: bool = False
    thresholds_percent: tuple[int, ...] = (50, 75, 90, 100)
    queue_ms: int = 0
    tier_shares_percent: dict[Tier, int] = {}
    degrade_at_percent: int | None = None
    each_cap: int | None = None


class PolicyDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that the plugins need to know of one organization to decide and to price a call.

    `credentials` maps a credential's id to its sealed form (`credentials.py`). `aliases` are names that stand for a
    request model. Calls go to deployments in `regions` only, if there are any, and the keys of a tier in `tier_models`
    may use these request models only. While Redis is away, calls of the `fault_tolerant_tiers` go on under each node's
    part of their limits, unless a hard budget applies to them, of which only those of the `capless_tiers` go on.
    """

    format: Literal[1] = 1
    organization: str
    number: int
    checksum: str = ""
    created_by: str
    time_zone: str
    fiscal_month_start: int = 1
    credentials: dict[str, str]
    deployments: tuple[Deployment, ...]
    models: tuple[Model, ...]
    teams: tuple[Team, ...]
    aliases: dict[str, str] = {}
    regions: tuple[str, ...] | None = None
    tier_models: dict[Tier, tuple[str, ...]] = {}
    limits: tuple[Limit, ...] = ()
    budgets: tuple[Budget, ...] = ()
    fault_tolerant_tiers: tuple[Tier, ...] = ("critical", "normal", "experimental")
    capless_tiers: tuple[Tier, ...] = ()


def content_checksum(document: PolicyDocument) -> str:
    """SHA-256 over the content, without its number, author and checksum: equal content has an equal checksum."""
    content = msgspec.structs.replace(document, number=0, checksum="", created_by="")
    return hashlib.sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()


def encode_policy(document: PolicyDocument) -> bytes:
    """The document as published: canonical JSON with its checksum filled in."""
    sealed = msgspec.structs.replace(document, checksum=content_checksum(document))
    return msgspec.json.encode(sealed, order="deterministic")


def decode_policy(data: bytes) -> PolicyDocument:
    """Read a published document.

    Raises:
        ValueError: it is not such a document, or its checksum does not match its content.
    """
    document = msgspec.json.decode(data, type=PolicyDocument)
    if document.checksum != _checksum_of(data):
        raise ValueError("the policy document's checksum does not match its content")
    return document


def _checksum_of(data: bytes) -> str:
    """The checksum over the members that were published, of which an older version has written fewer."""
    content: dict[str, object] = msgspec.json.decode(data)
    content |= {"number": 0, "checksum": "", "created_by": ""}
    return hashlib.sha256(msgspec.json.encode(content)).hexdigest()
