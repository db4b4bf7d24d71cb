"""The periodic net under publishing."""

from __future__ import annotations

import logging

from celery import shared_task

from control_plane.leases import lease
from control_plane.releases.services import republish as republish_organization
from control_plane.teams.models import Organization

logger = logging.getLogger(__name__)


@shared_task
def republish() -> None:
    """Bring what is behind to the gateways, prices that came into effect among it."""
    with lease("republish") as taken:
        if taken:
            for organization_id in Organization.objects.values_list("id", flat=True):
                _republish(organization_id)


def _republish(organization_id: int) -> None:
    try:
        republish_organization(organization_id)
    except Exception:
        # The other organizations must not wait for this one.
        logger.exception("organization %s could not be republished", organization_id)
