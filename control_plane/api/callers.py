"""Who calls the REST API, in which organization, and what of their rights they have brought with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, get_args

if TYPE_CHECKING:
    from rest_framework.request import Request

    from control_plane.api.models import ApiToken
    from control_plane.teams.models import Organization, User

Scope = Literal["read", "teams", "keys", "budgets", "catalog", "spend", "releases", "alerts", "admin", "scim"]

SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
SCOPES_IN_WORDS: Final[dict[Scope, str]] = {
    "read": "read everything, change nothing",
    "teams": "the organization, its departments and teams",
    "keys": "virtual keys",
    "budgets": "budgets, extensions, forecasts and limits",
    "catalog": "providers, models, deployments, prices, discounts and aliases",
    "spend": "spend, events, refusals and the state of the books",
    "releases": "releases",
    "alerts": "webhooks and deliveries",
    "admin": "people, memberships, groups and API tokens",
    "scim": "people and groups, as an identity provider provisions them",
}


@dataclass(frozen=True, kw_only=True)
class Caller:
    """What authentication puts into `request.auth`. `token` is None for a person with a session in the admin."""

    user: User
    organization: Organization
    token: ApiToken | None = None

    @property
    def scopes(self) -> frozenset[str] | None:
        """What may be done of what the user may; None for all."""
        if self.token is None or self.token.scopes is None:
            return None
        return frozenset(self.token.scopes)

    @property
    def name(self) -> str:
        """Different for any two callers."""
        return f"token {self.token.pk}" if self.token else f"user {self.user.pk} of {self.organization.pk}"

    def may(self, scope: Scope, *, reads: bool) -> bool:
        return self.scopes is None or scope in self.scopes or (reads and "read" in self.scopes)


def caller_of(request: Request) -> Caller:
    """Whoever was authenticated."""
    caller = request.auth
    assert isinstance(caller, Caller)
    return caller
