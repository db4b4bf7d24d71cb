"""Which deployments may serve a request: the policy document, indexed once for as long as it is in force."""

from __future__ import annotations

from operator import attrgetter

import msgspec

from kong_plugins.llm.errors import ModelNotAllowed, ModelNotFound, PolicyUnavailable
from kong_plugins.llm.keys import Principal
from kong_plugins.llm.release import Deployment, Model, PolicyDocument


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """One deployment that could serve the request, with the model that it serves."""

    model: Model
    deployment: Deployment


class PolicyBehind(PolicyUnavailable):
    """The policy at hand is older than what it is asked about; a newer one may know."""


class RoutingTable:
    """The lookups that each request needs of one policy document."""

    def __init__(self, document: PolicyDocument) -> None:
        self.document = document
        self._models = {model.name: model for model in document.models}
        self._deployments = {deployment.id: deployment for deployment in document.deployments}
        self._teams = {team.id: team for team in document.teams}

    def candidates(
        self, principal: Principal, request_model: str, protocol: str, *, may_degrade: bool = True
    ) -> tuple[Candidate, ...]:
        """The deployments in this wire format, in the order in which they are tried: at least one of the model itself,
        then those of the models that may serve in its place, as far as the caller may use them.

        Raises:
            ModelNotFound: there is no such model, or none in this wire format.
            ModelNotAllowed: the key or its team may not use it.
            PolicyBehind: the policy does not know the key's team.
        """
        model = self._models.get(request_model)
        if model is None:
            raise ModelNotFound(f"The model {request_model[:64]!r} does not exist.", param="model")
        if not self.may_use(principal, model.name):
            raise ModelNotAllowed(f"This key may not use the model {model.name!r}.", param="model")
        found = self._served(model, protocol)
        if not found:
            raise ModelNotFound(f"The model {model.name!r} is not served on this path.", param="model")
        others = (self._models.get(name) for name in model.degrade_to if may_degrade)
        lesser = (other for other in others if other is not None and self.may_use(principal, other.name))
        return (*found, *(candidate for other in lesser for candidate in self._served(other, protocol)))

    def _served(self, model: Model, protocol: str) -> tuple[Candidate, ...]:
        deployments = (self._deployments[name] for name in model.deployments)
        return tuple(Candidate(model=model, deployment=each) for each in deployments if each.protocol == protocol)

    def served_models(self) -> list[tuple[Model, str]]:
        """The models that have a deployment, by name, each with the provider that is tried first."""
        served = (model for model in self.document.models if model.deployments)
        return [
            (model, self._deployments[model.deployments[0]].provider)
            for model in sorted(served, key=attrgetter("name"))
        ]

    def may_use(self, principal: Principal, model_name: str) -> bool:
        """Whether the key and its team may use a model.

        Raises:
            PolicyBehind: the policy does not know the key's team.
        """
        team = self._teams.get(principal.team)
        if team is None:
            raise PolicyBehind("The policy of this key's team is not in force yet.", retry_after_ms=1000)
        return all(allowed is None or model_name in allowed for allowed in (team.models, principal.models))
