"""How much of a team's limits is used right now, as gateways count it."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import NamedTuple

from control_plane.budgets.models import Limit
from control_plane.budgets.selectors import now_ms
from control_plane.live import live_state
from control_plane.releases.documents import limit_of
from control_plane.teams.models import Team
from kong_plugins.llm.errors import StoreUnavailable
from kong_plugins.llm.keys import Principal
from kong_plugins.llm.limits import Denied, Granted, Reservation, checks_for
from kong_plugins.llm.release import PolicyDocument


class LimitNow(NamedTuple):
    """A limit and how much of it is used in its window; None where that is not known."""

    limit: Limit
    used: int | None


def limits_now(team: Team, limits: Sequence[Limit]) -> list[LimitNow]:
    """How these limits, each about this team, stand; asked as a call that takes nothing, and writes nothing."""
    try:
        used = _used(team, limits) if limits else {}
    except StoreUnavailable:
        used = {}
    return [LimitNow(limit, used.get(limit.reference)) for limit in limits]


def _used(team: Team, limits: Sequence[Limit]) -> dict[str, int]:
    organization = team.organization
    number = live_state().policy_number(organization.slug)
    document = PolicyDocument(
        organization=organization.slug,
        number=number or 0,
        created_by="",
        time_zone=organization.time_zone,
        credentials={},
        deployments=(),
        models=(),
        teams=(),
        limits=tuple(map(limit_of, limits)),
    )
    # Tags select limits too: all that are named are those of this call.
    tags = tuple(sorted({limit.tag for limit in limits if limit.tag}))
    caller = Principal(organization=organization.slug, team=team.slug, key="", key_name="", tier=team.tier, tags=tags)
    checks, _ = checks_for(document, caller, None, now_ms=now_ms())
    answer = live_state().reserve(
        Reservation(
            organization=organization.slug,
            request_id=str(uuid.uuid4()),
            policy_number=document.number,
            lease_ms=1,
            hold_nusd=0,
            hold_tokens=0,
            limits=checks,
            budgets=(),
            draft=b"{}",
            tier=team.tier,
            probe=True,
        )
    )
    if not isinstance(answer, Granted | Denied):
        return {}
    return {state.check.id: state.check.amount - state.remaining for state in answer.limits if state.check.tier is None}
