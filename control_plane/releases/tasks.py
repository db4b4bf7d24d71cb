"""The periodic net under publishing."""

from __future__ import annotations

from celery import shared_task

from control_plane.leases import lease
from control_plane.releases.services import republish as republish_organization
from control_plane.teams.models import Organization


@shared_task
def republish() -> None:
    """Bring what is behind to the gateways, prices that came into effect among it."""
    with lease("republish") as taken:
        if taken:
            for organization_id in Organization.objects.values_list("id", flat=True):
                republish_organization(organization_id)
