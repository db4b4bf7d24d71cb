"""Which kinds of rows are recorded, what each belongs to, and what of it is left out; which are not, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

# Columns that follow from a change that is recorded, or say only when something was noticed; in every table.
BOOKKEEPING: Final = frozenset({"version", "published_version", "updated_at", "last_used_at", "last_login"})


@dataclass(frozen=True)
class Governed:
    """A kind of row that is recorded, by the name that filters and sentences have for it.

    `scope` is SQL that gives a row's organization and team (their slugs), its name, and the unit of its amounts; in it,
    `r` is the row as JSON. `secrets` are columns of which is recorded only that they have changed, besides those whose
    name says so (`sql/write.sql`). A change of `unrecorded` columns alone is no entry.
    """

    kind: str
    scope: str
    unrecorded: frozenset[str] = frozenset()
    secrets: frozenset[str] = frozenset()


_NOWHERE: Final = "SELECT '', '', {name}, ''"


def _of_organization(name: str = "r ->> 'name'") -> str:
    """Of a table with a column for the organization."""
    return f"SELECT o.slug, '', {name}, '' FROM teams_organization o WHERE o.id = (r ->> 'organization_id')::bigint"


def _of_team(name: str) -> str:
    """Of a table with columns for the organization and for a team that may be none."""
    return (
        f"SELECT o.slug, t.slug, {name}, '' FROM teams_organization o"
        " LEFT JOIN teams_team t ON t.id = (r ->> 'team_id')::bigint"
        " WHERE o.id = (r ->> 'organization_id')::bigint"
    )


def _team_about(scope: str, subject: str) -> str:
    """The team that is the subject of a budget or a limit, or whose key is."""
    return (
        f"CASE {scope} WHEN 'team' THEN {subject} WHEN 'key' THEN"
        " (SELECT t.slug FROM keys_virtualkey k JOIN teams_team t ON t.id = k.team_id"
        f" WHERE k.id = {subject}) END"
    )


_SUBJECT: Final = "r ->> 'subject'"
_SCOPE: Final = "r ->> 'scope'"
_ABOUT_SUBJECT: Final = (
    f"SELECT o.slug, {_team_about(_SCOPE, _SUBJECT)}, r ->> 'name', r ->> 'unit'"
    " FROM teams_organization o WHERE o.id = (r ->> 'organization_id')::bigint"
)
_OF_BUDGET: Final = (
    f"SELECT o.slug, {_team_about('b.scope', _SUBJECT)}, concat_ws(' · ', b.name, {_SUBJECT}), b.unit"
    " FROM budgets_budget b JOIN teams_organization o ON o.id = b.organization_id"
    " WHERE b.id = (r ->> 'budget_id')::bigint"
)
_OF_DEPLOYMENT: Final = (
    "SELECT o.slug, '', m.name || ' at ' || p.name, '' FROM catalog_model m"
    " JOIN teams_organization o ON o.id = m.organization_id"
)
_OF_USER: Final = "(SELECT u.username FROM teams_user u WHERE u.id = (r ->> 'user_id')::bigint)"

GOVERNED: Final[Mapping[str, Governed]] = {
    "teams.Organization": Governed(
        "organization",
        "SELECT r ->> 'slug', '', r ->> 'name', ''",
        unrecorded=frozenset({"behind_since", "readiness_epoch"}),
    ),
    "teams.Department": Governed("department", _of_organization()),
    "teams.Team": Governed(
        "team",
        "SELECT o.slug, r ->> 'slug', r ->> 'name', '' FROM teams_organization o"
        " WHERE o.id = (r ->> 'organization_id')::bigint",
    ),
    "teams.Membership": Governed(
        "membership",
        _of_team(
            f"concat({_OF_USER}, ' in ', coalesce(t.name, (SELECT d.name FROM teams_department d"
            " WHERE d.id = (r ->> 'department_id')::bigint), o.name))"
        ),
    ),
    "teams.User": Governed("user", _NOWHERE.format(name="r ->> 'username'")),
    "teams.User_groups": Governed("user_group", _NOWHERE.format(name=_OF_USER)),
    "teams.User_user_permissions": Governed("user_permission", _NOWHERE.format(name=_OF_USER)),
    "auth.Group": Governed("group", _NOWHERE.format(name="r ->> 'name'")),
    "auth.Group_permissions": Governed(
        "group_permission",
        _NOWHERE.format(name="(SELECT g.name FROM auth_group g WHERE g.id = (r ->> 'group_id')::bigint)"),
    ),
    "keys.VirtualKey": Governed(
        "key",
        "SELECT o.slug, t.slug, r ->> 'name', '' FROM teams_team t"
        " JOIN teams_organization o ON o.id = t.organization_id WHERE t.id = (r ->> 'team_id')::bigint",
    ),
    "budgets.Budget": Governed("budget", _ABOUT_SUBJECT),
    "budgets.Limit": Governed("limit", _ABOUT_SUBJECT),
    "budgets.Extension": Governed("extension", _OF_BUDGET),
    "budgets.ExtensionRequest": Governed(
        "extension_request",
        "SELECT o.slug, t.slug, b.name, b.unit FROM budgets_budget b, teams_team t"
        " JOIN teams_organization o ON o.id = t.organization_id"
        " WHERE b.id = (r ->> 'budget_id')::bigint AND t.id = (r ->> 'team_id')::bigint",
    ),
    "catalog.Provider": Governed("provider", _of_organization()),
    "catalog.Model": Governed("model", _of_organization()),
    "catalog.Deployment": Governed(
        "deployment",
        f"{_OF_DEPLOYMENT} JOIN catalog_provider p ON p.id = (r ->> 'provider_id')::bigint"
        " WHERE m.id = (r ->> 'model_id')::bigint",
    ),
    "catalog.Price": Governed(
        "price",
        f"{_OF_DEPLOYMENT} JOIN catalog_deployment d ON d.model_id = m.id"
        " JOIN catalog_provider p ON p.id = d.provider_id WHERE d.id = (r ->> 'deployment_id')::bigint",
    ),
    "catalog.Discount": Governed("discount", _of_organization("concat(r ->> 'percent', ' %')")),
    "routing.Alias": Governed("alias", _of_team("r ->> 'name'")),
    # The checksum tells the document, which is kept with the release for good.
    "releases.Release": Governed("release", _of_organization("r ->> 'number'"), unrecorded=frozenset({"document"})),
    # The path of a webhook's address is often all that guards it.
    "alerts.Webhook": Governed(
        "webhook",
        _of_organization("substring(r ->> 'url' from '^https?://(?:[^/@]*@)?([^/?#]+)')"),
        secrets=frozenset({"url"}),
    ),
    "api.ApiToken": Governed("token", _of_organization()),
    "identity.GroupMapping": Governed("group_mapping", _of_team("r ->> 'group'")),
    "identity.DirectoryPerson": Governed("directory_person", _of_organization(_OF_USER)),
    "identity.DirectoryGroup": Governed("directory_group", _of_organization()),
    "identity.DirectoryGroup_members": Governed(
        "directory_group_member",
        f"SELECT o.slug, '', concat({_OF_USER}, ' in ', g.name), '' FROM identity_directorygroup g"
        " JOIN teams_organization o ON o.id = g.organization_id WHERE g.id = (r ->> 'directorygroup_id')::bigint",
    ),
    "socialaccount.SocialAccount": Governed(
        "sign_in", _NOWHERE.format(name=_OF_USER), unrecorded=frozenset({"extra_data"})
    ),
    "mfa.Authenticator": Governed("two_factor", _NOWHERE.format(name=_OF_USER), secrets=frozenset({"data"})),
}

NOT_RECORDED: Final[Mapping[str, str]] = {
    "budgets.BudgetPeriod": "caps follow from budgets and extensions, and are made each period by a task",
    "forecasts.Forecast": "calculated",
    "keys.KeyUse": "when keys were last used, as the ledger's events say",
    "keys.KeyReminder": "of what people were reminded by a task",
    "ledger.UsageEvent": "the ledger is append-only by itself",
    "ledger.HourRollup": "sums of the ledger",
    "ledger.DayRollup": "sums of the ledger",
    "ledger.TeamDay": "sums of the ledger",
    "ledger.ModelDay": "sums of the ledger",
    "ledger.PairDay": "sums of the ledger",
    "ledger.DimensionHour": "sums of the ledger",
    "ledger.RefusalCount": "sums of refusals",
    "ledger.DeadLetter": "what could not be read, kept as it came",
    "ledger.Checkpoint": "sums of the ledger",
    "ledger.Reconciliation": "the outcome of a comparison",
    "api.StoredAnswer": "answers that are kept for a day, so that a write can be sent again",
    "alerts.Alert": "what budgets have told, never changed",
    "alerts.Delivery": "the state of a message on its way",
    "account.EmailAddress": "addresses as an identity provider has sent them",
    "account.EmailConfirmation": "nobody is asked to confirm an address",
    "socialaccount.SocialApp": "empty: identity providers are set in the environment",
    "socialaccount.SocialToken": "empty: tokens of identity providers are not kept",
    "audit.AuditEntry": "this log, which is append-only by itself",
}
