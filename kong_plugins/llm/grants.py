"""A grant: the only thing with which a request reaches a provider, and what the meter needs to settle it.

The guard (Lua) reads `Grant.table()` and nothing else; the meter gets its part back as the JSON that was given out.
"""

from __future__ import annotations

import zlib
from functools import lru_cache
from typing import Final
from urllib.parse import quote, urlsplit

import msgspec

from kong_plugins.llm.body import Splice
from kong_plugins.llm.prices import Bounds, Price, affordable_output_tokens, worst_cost_nusd
from kong_plugins.llm.rate_headers import QUEUED_HEADER
from kong_plugins.llm.release import Deployment, Tier
from kong_plugins.llm.requests import Target
from kong_plugins.llm.usage import STANDARD_TIER

# A call that could only answer in fewer tokens than this, and than it asks for, is refused instead.
USEFUL_OUTPUT_TOKENS: Final = 256
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class CallFacts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The fields of a call's UsageEvent that are known when it is admitted; `shadow_refusals` only once it is."""

    request_id: str
    organization: str
    team: str
    key: str
    protocol: str
    request_model: str
    release: int
    key_generation: int = 1
    user: str | None = None
    tags: tuple[str, ...] = ()
    tier: Tier | None = None
    provider: str | None = None
    deployment: str | None = None
    region: str | None = None
    price_version: str | None = None
    candidates: tuple[str, ...] = ()
    requested_max_tokens: int | None = None
    input_bound_tokens: int | None = None
    trace_id: str | None = None
    degraded_from: str | None = None
    queued_ms: int | None = None
    shadow_refusals: tuple[str, ...] = ()


def event_fields(facts: CallFacts, **more: object) -> bytes:
    """A JSON object with the fields of the call's event; the store adds ids, instants and amounts."""
    return msgspec.json.encode(msgspec.to_builtins(facts) | more)


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What one candidate may use for one request: its input at most, and its output for each of `choices` answers, of
    which `thinking_tokens` are set apart for reasoning; `more_thinking_tokens` may be billed beside each answer's
    maximum. The rest is as of `prices.Bounds`."""

    input_bound_tokens: int
    max_tokens: int
    choices: int
    price: Price | None
    thinking_tokens: int = 0
    more_thinking_tokens: int = 0
    writes_1h: bool = False
    has_media: bool = False
    units: dict[str, int] = {}
    service_tiers: tuple[str, ...] = (STANDARD_TIER,)

    @property
    def bounds(self) -> Bounds:
        return Bounds(
            input_tokens=self.input_bound_tokens,
            writes_1h=self.writes_1h,
            has_media=self.has_media,
            units=self.units,
            service_tiers=self.service_tiers,
        )

    @property
    def tokens(self) -> int:
        return self.input_bound_tokens + self.output_bound_tokens

    @property
    def output_bound_tokens(self) -> int:
        """The most output that the call can be billed for."""
        return (self.max_tokens + self.more_thinking_tokens) * self.choices

    @property
    def cost_nusd(self) -> int | None:
        """The most that the call can cost; None where no price is known."""
        return None if self.price is None else self.worst_cost_nusd(self.output_bound_tokens)

    @property
    def floor_nusd(self) -> int:
        """The least money with which the call is still of use."""
        useful_tokens = self.thinking_tokens + USEFUL_OUTPUT_TOKENS
        return self.worst_cost_nusd((min(self.max_tokens, useful_tokens) + self.more_thinking_tokens) * self.choices)

    def worst_cost_nusd(self, output_tokens: int) -> int:
        """The most that the call can cost with so much output; 0 where no price is known."""
        return 0 if self.price is None else worst_cost_nusd(self.price, self.bounds, output_tokens=output_tokens)

    def within(self, amount_nusd: int) -> Terms:
        """These terms with as much output as the amount pays for."""
        if self.price is None:
            return self
        affordable = affordable_output_tokens(self.price, self.bounds, amount_nusd=amount_nusd)
        if affordable is None or affordable >= self.output_bound_tokens:
            return self
        return msgspec.structs.replace(self, max_tokens=affordable // self.choices - self.more_thinking_tokens)


class Meter(msgspec.Struct, frozen=True, kw_only=True):
    """All that settling a call needs; opaque to Kong, through which it travels as JSON. `is_marked`: its deployment had
    failed others when the call was admitted. `observed`: nobody has decided on the call, and nothing was held."""

    facts: CallFacts
    terms: Terms
    hold_nusd: int
    reserved_at_ms: int
    provider_model: str
    stream: bool
    thinks: bool | None = None
    is_marked: bool = False
    observed: bool = False

    @property
    def most_nusd(self) -> int:
        """The most that the call is charged where its usage is not known: what is held, or could have been."""
        return (self.terms.cost_nusd or 0) if self.observed else self.hold_nusd


class Upstream(msgspec.Struct, frozen=True, kw_only=True):
    """Where a deployment's base URL leads; `path` is the prefix of its calls' paths, `query` what each of them asks."""

    scheme: str
    host: str
    port: int
    path: str
    query: str = ""


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """Leave for one request to go to one deployment, with the provider's credential. `is_partial`: its money pays for
    less than the call may use; `is_shared`: a budget of the whole organization has a say in how much that is;
    `has_other`: should the deployment fail the call, another one could be tried;
    `answer_headers`: those of the answer that the meter wants to know."""

    upstream: Upstream
    target: Target
    credential_headers: dict[str, str]
    body: bytes
    splices: tuple[Splice, ...]
    strip_usage_chunk: bool
    deadline_ms: int
    response_headers: dict[str, str]
    meter: Meter
    answer_headers: tuple[str, ...] = ()
    is_partial: bool = False
    is_shared: bool = False
    has_other: bool = False

    def table(self) -> dict[str, object]:
        """The grant as the guard reads it; body offsets count from 0, `deadline_ms` from now."""
        request_id = self.meter.facts.request_id
        return {
            "id": request_id,
            "scheme": self.upstream.scheme,
            "host": self.upstream.host,
            "port": self.upstream.port,
            "path": self.target.path,
            "query": self.target.query,
            "set_headers": {
                **self.credential_headers,
                "accept-encoding": "identity",
                "x-client-request-id": request_id,
            },
            "body_length": len(self.body),
            "body_crc32": zlib.crc32(self.body),
            "splices": [list(splice) for splice in self.splices],
            "strip_usage_chunk": self.strip_usage_chunk,
            "deadline_ms": self.deadline_ms,
            "has_other": self.has_other,
            "response_headers": self.response_headers,
            "answer_headers": list(self.answer_headers),
            "meter": msgspec.json.encode(self.meter).decode(),
        }


@lru_cache(maxsize=1024)
def upstream_of(base_url: str, provider_model: str) -> Upstream:
    """Take a deployment's base URL apart, with the provider's name of the model where `{model}` stands.

    Raises:
        ValueError: it has another scheme than http and https, or no host.
    """
    url = urlsplit(base_url.replace("{model}", quote(provider_model, safe="")))
    if url.scheme not in _DEFAULT_PORTS or not url.hostname:
        raise ValueError(f"not the base URL of a provider: {base_url!r}")
    return Upstream(
        scheme=url.scheme,
        host=url.hostname,
        port=url.port or _DEFAULT_PORTS[url.scheme],
        path=url.path,
        query=url.query,
    )


def response_headers(
    facts: CallFacts, deployment: Deployment, terms: Terms, limit_headers: dict[str, str]
) -> dict[str, str]:
    """What the client is told beside the provider's answer."""
    headers = {
        "x-bursar-request-id": facts.request_id,
        "x-bursar-model": f"{deployment.provider}/{deployment.provider_model}",
        "x-bursar-max-tokens": str(terms.max_tokens),
        **limit_headers,
    }
    if facts.degraded_from is not None:
        headers["x-bursar-degraded-from"] = facts.degraded_from
    if facts.queued_ms is not None:
        headers[QUEUED_HEADER] = str(facts.queued_ms)
    return headers
