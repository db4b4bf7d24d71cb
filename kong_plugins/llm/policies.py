"""The policies in force, as this process knows them: kept until the store says that a newer one counts."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

from kong_plugins.llm.errors import InvalidRequest, ModelNotAllowed, ModelNotFound, StoreUnavailable
from kong_plugins.llm.refusals import undecided
from kong_plugins.llm.routes import PolicyBehind, RoutingTable
from kong_plugins.llm.store import Store

_ATTEMPTS: Final = 3
_Decision = TypeVar("_Decision")


class Policies:
    """The routing tables of all organizations that this process has decided for."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tables: dict[str, RoutingTable] = {}

    def decide(self, organization: str, decide: Callable[[RoutingTable], _Decision]) -> _Decision:
        """Decide by the policy at hand; by a newer one where that is behind, or does not allow what was asked for.

        Raises:
            PolicyUnavailable: there is no policy, or it cannot be read.
        """
        known = self._tables.get(organization)
        if known is not None:
            # A request may be invalid by what the policy says of a model, too.
            with suppress(ModelNotFound, ModelNotAllowed, InvalidRequest, PolicyBehind):
                return decide(known)
        for _ in range(_ATTEMPTS - 1):
            with suppress(PolicyBehind):
                return decide(self.current(organization))
        return decide(self.current(organization))

    def organizations(self) -> set[str]:
        """The organizations that have a policy.

        Raises:
            PolicyUnavailable: they cannot be read.
        """
        try:
            return self._store.organizations()
        except StoreUnavailable as error:
            raise undecided() from error

    def current(self, organization: str) -> RoutingTable:
        """The routing table of the policy that is in force.

        Raises:
            PolicyUnavailable: there is no policy, or it cannot be read.
        """
        known = self._tables.get(organization)
        try:
            # Reading and checking a whole policy is dear, so that a caller's mistake must not cost it each time.
            if known is not None and self._store.policy_number(organization) == known.document.number:
                return known
            document = self._store.get_policy(organization)
        except StoreUnavailable as error:
            raise undecided() from error
        if document is None:
            raise undecided()
        self._tables[organization] = RoutingTable(document)
        return self._tables[organization]
