"""Which deployments may serve a request, and in which order they are tried: the policy document, indexed once for as
long as it is in force.

Rules compose by leaving out: a candidate is what every one of them lets pass. Where data must stay is asked of each
candidate, so neither an alias nor a model that stands in for another leads around it.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from itertools import groupby
from math import log
from operator import attrgetter
from typing import Final, Literal

import msgspec

from kong_plugins.llm.errors import BursarError, ModelNotAllowed, ModelNotFound, PolicyUnavailable
from kong_plugins.llm.keys import Principal
from kong_plugins.llm.release import Deployment, Model, PolicyDocument, Team

CandidateKind = Literal["own", "fallback", "lesser"]

_Groups = tuple[tuple[Deployment, ...], ...]
_LOT_BYTES: Final = 8
_LOTS: Final = 2 ** (8 * _LOT_BYTES)


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """One deployment that could serve the request, with the model that it serves.

    Its `kind` is "own" where that is the model that was asked for. Else it is `in_place_of` that one: a "fallback" is
    for when each of the model's own is failing or refused, a "lesser" one is also for budgets that degrade.
    """

    model: Model
    deployment: Deployment
    kind: CandidateKind = "own"
    in_place_of: str | None = None


class PolicyBehind(PolicyUnavailable):
    """The policy at hand is older than what it is asked about; a newer one may know."""


class _Rules(msgspec.Struct, frozen=True, kw_only=True):
    """A team, with what its own rules and the organization's come to."""

    team: Team
    aliases: dict[str, str]
    regions: frozenset[str] | None

    def keeps_data_in(self, deployment: Deployment) -> bool:
        """Whether data may go there; where it must stay somewhere, never to where nobody has said where that is."""
        return self.regions is None or deployment.region in self.regions

    def uses(self, deployment: Deployment) -> bool:
        return self.team.providers is None or deployment.provider in self.team.providers

    def turn(self, deployment: Deployment) -> tuple[int, int]:
        """When it is tried: with the team's preferred providers first, then by its own order."""
        preferred = self.team.preferred_providers
        rank = preferred.index(deployment.provider) if deployment.provider in preferred else len(preferred)
        return rank, deployment.order


class RoutingTable:
    """The lookups that each request needs of one policy document."""

    def __init__(self, document: PolicyDocument) -> None:
        self.document = document
        self._models = {model.name: model for model in document.models}
        self._deployments = {deployment.id: deployment for deployment in document.deployments}
        self._rules = {team.id: _rules_for(document, team) for team in document.teams}
        # Filled as they are asked for, since most teams never ask for most models.
        self._groups: dict[tuple[str, str, str | None], _Groups] = {}

    def candidates(
        self, principal: Principal, asked_for: str, protocol: str, *, request_id: str, may_degrade: bool = True
    ) -> tuple[Candidate, ...]:
        """The deployments in this wire format, in the order in which they are tried: at least one of the model itself,
        then those of the models that it falls back to, then those that it degrades to, as far as the caller may use
        them. `asked_for` is a model's name or an alias. Those of one turn share the calls by their weights, in an order
        that is always the same for a `request_id`.

        Raises:
            ModelNotFound: there is no such model, or none in this wire format.
            ModelNotAllowed: a rule for the key, its tier, its team or its organization leaves nothing.
            PolicyBehind: the policy does not know the key's team.
        """
        rules = self._rules_of(principal)
        model = self._model(rules, asked_for)
        if refusing := self._refusing(principal, rules, model.name):
            raise _not_allowed(f"{refusing} may not use the model {_called(model, asked_for)}.")
        groups = self._turns(rules, model, protocol)
        if not groups:
            raise self._nothing_left(rules, model, protocol, _called(model, asked_for))
        own = (Candidate(model=model, deployment=each) for each in _drawn(groups, request_id))
        others = self._stand_ins(principal, rules, model) if may_degrade else ()
        return (
            *own,
            *(
                Candidate(model=other, deployment=each, kind=kind, in_place_of=model.name)
                for kind, other in others
                for each in _drawn(self._turns(rules, other, protocol), request_id)
            ),
        )

    def may_use(self, principal: Principal, model_name: str) -> bool:
        """Whether the key, its tier and its team may use a model.

        Raises:
            PolicyBehind: the policy does not know the key's team.
        """
        return self._refusing(principal, self._rules_of(principal), model_name) is None

    def usable_models(self, principal: Principal) -> list[tuple[str, str]]:
        """The names under which the caller reaches a model in any wire format, aliases too, each with the provider
        that is tried first, or that gets most of the calls.

        Raises:
            PolicyBehind: the policy does not know the key's team.
        """
        rules = self._rules_of(principal)
        meanings = rules.aliases | {name: name for name in self._models}
        models = ((name, self._models.get(meant)) for name, meant in meanings.items())
        return sorted(
            (name, max(groups[0], key=attrgetter("weight")).provider)
            for name, model in models
            if model is not None
            and self._refusing(principal, rules, model.name) is None
            and (groups := self._turns(rules, model, None))
        )

    def _rules_of(self, principal: Principal) -> _Rules:
        rules = self._rules.get(principal.team)
        if rules is None:
            raise PolicyBehind("The policy of this key's team is not in force yet.", retry_after_ms=1000)
        return rules

    def _model(self, rules: _Rules, asked_for: str) -> Model:
        model = self._models.get(asked_for) or self._models.get(rules.aliases.get(asked_for, ""))
        if model is None:
            raise ModelNotFound(f"The model {asked_for[:64]!r} does not exist.", param="model")
        return model

    def _refusing(self, principal: Principal, rules: _Rules, model_name: str) -> str | None:
        """Who may not use a model, in the caller's words; None where everybody concerned may."""
        allowed = (
            ("Your team", rules.team.models),
            ("This key", principal.models),
            (f"A key of the tier {principal.tier}", self.document.tier_models.get(principal.tier)),
        )
        return next((who for who, names in allowed if names is not None and model_name not in names), None)

    def _stand_ins(self, principal: Principal, rules: _Rules, model: Model) -> Iterator[tuple[CandidateKind, Model]]:
        """The models that may serve in a model's place and that the caller may use: those that are as good first."""
        named: tuple[tuple[CandidateKind, tuple[str, ...]], ...]
        named = ("fallback", model.fall_back_to), ("lesser", model.degrade_to)
        for kind, names in named:
            for name in names:
                if name in self._models and self._refusing(principal, rules, name) is None:
                    yield kind, self._models[name]

    def _turns(self, rules: _Rules, model: Model, protocol: str | None) -> _Groups:
        """The deployments of a model that the team may use in this wire format, or with None in any: those that are
        tried in the same turn together."""
        asked = rules.team.id, model.name, protocol
        if asked not in self._groups:
            served = (each for each in self._served(model, protocol) if rules.keeps_data_in(each) and rules.uses(each))
            by_turn = groupby(sorted(served, key=rules.turn), key=rules.turn)
            self._groups[asked] = tuple(tuple(group) for _, group in by_turn)
        return self._groups[asked]

    def _served(self, model: Model, protocol: str | None) -> Iterator[Deployment]:
        for name in model.deployments:
            deployment = self._deployments[name]
            if protocol in (None, deployment.protocol):
                yield deployment

    def _nothing_left(self, rules: _Rules, model: Model, protocol: str, called: str) -> BursarError:
        """The answer where the model has no candidate of its own: it names the rule that has left none."""
        served = list(self._served(model, protocol))
        if not served:
            return ModelNotFound(f"The model {called} is not served on this path.", param="model")
        places = " or ".join(sorted(rules.regions or ())) or "no region"
        what = f"the model {called} on this path"
        if not any(map(rules.keeps_data_in, served)):
            return _not_allowed(f"Your data must stay in {places}, where nobody serves {what}.")
        where = "" if rules.regions is None else f" in {places}, where your data must stay"
        providers = ", ".join(rules.team.providers or ()) or "none"
        return _not_allowed(f"None of your team's providers ({providers}) serves {what}{where}.")


def _rules_for(document: PolicyDocument, team: Team) -> _Rules:
    bounds = [frozenset(regions) for regions in (document.regions, team.regions) if regions is not None]
    return _Rules(
        team=team,
        aliases=document.aliases | team.aliases,
        regions=frozenset.intersection(*bounds) if bounds else None,
    )


def _called(model: Model, asked_for: str) -> str:
    """A model as the caller knows it."""
    return repr(model.name) if asked_for == model.name else f"{model.name!r} (for which {asked_for!r} stands)"


def _not_allowed(message: str) -> ModelNotAllowed:
    return ModelNotAllowed(message, param="model")


def _drawn(groups: _Groups, request_id: str) -> Iterator[Deployment]:
    """The deployments in the order in which a request tries them: group after group, in each by lot. The first one of a
    group is a deployment with the chance of its weight among theirs, and so is each next one among those that are left.

    Source: Efraimidis and Spirakis, "Weighted random sampling with a reservoir" (2006); as in weighted rendezvous
    hashing, each lot depends on the request and the deployment alone.
    """
    for group in groups:
        if len(group) == 1:
            yield group[0]
        else:
            yield from sorted(group, key=lambda each: -log(_lot(request_id, each.id)) / each.weight)


def _lot(request_id: str, deployment_id: str) -> float:
    """A number above 0 and at most 1, as if by chance."""
    digest = blake2b(f"{request_id} {deployment_id}".encode(), digest_size=_LOT_BYTES).digest()
    return (int.from_bytes(digest) + 1) / _LOTS
