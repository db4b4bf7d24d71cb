"""Publishing: what the rows say becomes what gateways enforce.

One function does it all, in the request after the commit, in the periodic task, and at bootstrap: it brings
everything that is behind, and what is not behind it leaves alone.
"""

from __future__ import annotations

import json
import logging
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from control_plane.budgets.services import create_periods, mark_caps_behind, publish_caps
from control_plane.keys.services import mark_keys_behind, publish_keys
from control_plane.live import live_state
from control_plane.releases.documents import build_document
from control_plane.releases.models import Release
from control_plane.releases.selectors import document_of, newest_release
from control_plane.teams.models import Organization
from kong_plugins.llm.release import content_checksum, encode_policy
from kong_plugins.llm.store import StoreUnavailable

logger = logging.getLogger(__name__)


def publish_after_commit(*, organization_id: int, actor: str, **_signal: Any) -> None:
    """Receive `organization_changed`: publish once the change is committed."""
    transaction.on_commit(partial(publish_changes, organization_id, actor=actor))


def publish_changes(organization_id: int, *, actor: str) -> bool:
    """Bring keys, caps and policy to the gateways, as far as they are behind; return whether all is live now.

    Caps go before policy, so that no policy names a budget without a cap. Where Redis cannot be reached the
    rows stay behind, the organization says since when, and the periodic task tries again.
    """
    organization = Organization.objects.get(pk=organization_id)
    create_periods(organization)
    create_release(organization_id, actor=actor)
    rows = Organization.objects.filter(pk=organization_id)
    try:
        live = all([publish_keys(organization_id), publish_caps(organization_id), _publish_policy(organization_id)])
    except StoreUnavailable as error:
        logger.warning("changes of %s are not live yet: %s", organization.slug, error)
        live = False
    if live:
        rows.filter(behind_since__isnull=False).update(behind_since=None)
    else:
        rows.filter(behind_since=None).update(behind_since=timezone.now())
    return live


@transaction.atomic
def create_release(organization_id: int, *, actor: str, above: int = 0) -> Release | None:
    """Make the next release if the policy's content differs from the newest one's, else None.

    The organization is locked, so that a higher number never has older content. With `above` the release is made in
    any case, with a number higher than that.
    """
    organization = Organization.objects.select_for_update(no_key=True).get(pk=organization_id)
    before = newest_release(organization_id)
    number = max(before.number if before else 0, above) + 1
    document = build_document(organization, number=number, created_by=actor)
    checksum = content_checksum(document)
    if before is not None and before.checksum == checksum and not above:
        return None
    return Release.objects.create(
        organization=organization,
        number=document.number,
        checksum=checksum,
        document=json.loads(encode_policy(document)),
        created_by=actor,
    )


def republish(organization_id: int) -> bool:
    """Publish what is behind, and everything if Redis has lost it; return whether all is live now.

    Readiness is not touched: a Redis that has lost its counters must not admit before they are rebuilt.
    """
    try:
        lost = redis_has_lost(organization_id)
    except StoreUnavailable:
        lost = False
    if lost:
        logger.error("Redis has lost the live state of organization %s; publishing all of it", organization_id)
        _mark_all_behind(organization_id)
    return publish_changes(organization_id, actor="republish")


def open_admission(organization_id: int, *, after_loss: bool = False) -> bool:
    """Publish everything that is behind and declare the counters complete, so that gateways may admit calls.

    Not if Redis has lost what was published before: what was spent is lost with it, and admitting would exceed the
    caps. `after_loss` opens nevertheless, with counters from zero. Returns whether gateways may admit.

    Raises:
        StoreUnavailable: nothing was opened.
    """
    if redis_has_lost(organization_id):
        if not after_loss:
            return False
        _mark_all_behind(organization_id)
        Organization.objects.filter(pk=organization_id).update(readiness_epoch=F("readiness_epoch") + 1)
    if not publish_changes(organization_id, actor="bootstrap"):
        raise StoreUnavailable("the policy could not be published")
    organization = Organization.objects.get(pk=organization_id)
    live_state().set_ready(organization.slug, organization.readiness_epoch)
    return True


def redis_has_lost(organization_id: int) -> bool:
    """Whether Redis no longer knows a policy that was published to it.

    Raises:
        StoreUnavailable: Redis cannot be reached.
    """
    published = Release.objects.filter(organization_id=organization_id, published_at__isnull=False).first()
    if published is None:
        return False
    document = live_state().get_policy(published.organization.slug)
    return document is None or document.number < published.number


def _mark_all_behind(organization_id: int) -> None:
    mark_keys_behind(organization_id)
    mark_caps_behind(organization_id)
    newest = newest_release(organization_id)
    if newest is not None:
        Release.objects.filter(pk=newest.pk).update(published_at=None)


def _publish_policy(organization_id: int) -> bool:
    """Put the newest release in force, if it is not; return whether it is now."""
    newest = newest_release(organization_id)
    if newest is None or newest.live:
        return True
    if live_state().publish_policy(document_of(newest)):
        Release.objects.filter(pk=newest.pk).update(published_at=timezone.now())
        return True
    if newest_release(organization_id) != newest:
        return True
    in_force = live_state().get_policy(newest.organization.slug)
    logger.error("Redis has a newer policy of %s than the database; publishing anew", newest.organization)
    create_release(organization_id, actor=newest.created_by, above=in_force.number if in_force else newest.number)
    return False
