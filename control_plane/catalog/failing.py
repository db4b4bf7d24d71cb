"""Which deployments are failing, as the gateways tell each other through Redis."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from control_plane.catalog.models import Deployment
from control_plane.live import live_state
from kong_plugins.llm.marks import Mark, Marks

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FailingDeployment:
    """A deployment that has failed so many calls in a row, the last one with `status`: calls go elsewhere, if they can,
    until `until` and after that until one that tries it has succeeded."""

    deployment: int
    model: str
    provider: str
    failures: int
    status: int
    since: datetime
    last_failure_at: datetime
    until: datetime
    is_being_tried: bool


def failing_deployments(deployments: Iterable[Deployment]) -> list[FailingDeployment]:
    """Those of the deployments that are marked.

    Raises:
        StoreUnavailable: Redis cannot be reached.
    """
    found = [(each, each.model.organization.slug) for each in deployments]
    marks = {slug: Marks(live_state()).all(slug) for slug in {slug for _, slug in found}}
    return [_described(each, marks[slug][each.reference]) for each, slug in found if each.reference in marks[slug]]


def clear_mark(deployment: Deployment, *, actor: str) -> bool:
    """Have calls go there again; False where it is not marked.

    Raises:
        StoreUnavailable: Redis cannot be reached.
    """
    was_marked = Marks(live_state()).clear(deployment.model.organization.slug, deployment.reference)
    if was_marked:
        logger.info("%s has taken the mark of the deployment %s away", actor, deployment)
    return was_marked


def _described(deployment: Deployment, mark: Mark) -> FailingDeployment:
    return FailingDeployment(
        deployment=deployment.pk,
        model=deployment.model.name,
        provider=deployment.provider.name,
        failures=mark.failures,
        status=mark.status,
        since=_instant(mark.since_ms),
        last_failure_at=_instant(mark.marked_at_ms),
        until=_instant(mark.until_ms),
        is_being_tried=mark.trial is not None,
    )


def _instant(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)
