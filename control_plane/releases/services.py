"""Publishing: what the rows say becomes what gateways enforce.

One function does it all, in the request after the commit, in the periodic task, and at bootstrap: it brings
everything that is behind, and what is not behind it leaves alone.
"""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from functools import partial
from typing import Any, Final

from django.db import transaction
from django.utils import timezone

from control_plane.budgets.services import create_periods, mark_caps_behind, publish_caps
from control_plane.keys.services import mark_keys_behind, publish_keys
from control_plane.live import live_state
from control_plane.releases.documents import build_document
from control_plane.releases.models import Release
from control_plane.releases.selectors import document_of, newest_release
from control_plane.teams.models import Organization
from kong_plugins.llm.errors import StoreUnavailable
from kong_plugins.llm.recovery import Recovery
from kong_plugins.llm.release import content_checksum, encode_policy

logger = logging.getLogger(__name__)

_UNREADABLE: Final = 0


def publish_after_commit(*, organization_id: int, actor: str, **_signal: Any) -> None:
    """Receive `organization_changed`: publish once the change is committed."""
    transaction.on_commit(partial(publish_changes, organization_id, actor=actor))


def publish_changes(organization_id: int, *, actor: str) -> bool:
    """Bring keys, caps and policy to the gateways, as far as they are behind; return whether all is live now.

    The release is chosen first and put in force last, so that no policy names a budget without a cap. Where Redis
    cannot be reached the rows stay behind, the organization says since when, and the periodic task tries again.
    """
    create_release(organization_id, actor=actor)
    release = newest_release(organization_id)
    create_periods(Organization.objects.get(pk=organization_id))
    rows = Organization.objects.filter(pk=organization_id)
    try:
        publish_keys(organization_id)
        publish_caps(organization_id)
        _put_in_force(release)
    except StoreUnavailable as error:
        logger.warning("changes of organization %s are not live yet: %s", organization_id, error)
        rows.filter(behind_since=None).update(behind_since=timezone.now())
        return False
    rows.filter(behind_since__isnull=False).update(behind_since=None)
    return True


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
    slug = Organization.objects.values_list("slug", flat=True).get(pk=organization_id)
    with suppress(StoreUnavailable):
        if redis_has_lost(organization_id):
            logger.error("Redis has lost the live state of %s; publishing all of it", slug)
            _mark_all_behind(organization_id)
        elif _number_in_force(slug) == _UNREADABLE:
            logger.error("Redis has a policy of %s that cannot be read; publishing it anew", slug)
            _mark_policy_behind(organization_id)
    return publish_changes(organization_id, actor="republish")


def publish_at_start(organization_id: int) -> bool:
    """Publish everything that is behind; return whether gateways may admit.

    They may from the first release on, until Redis has lost what was spent: then its counters have to be rebuilt.

    Raises:
        StoreUnavailable: not all could be published.
    """
    if redis_has_lost(organization_id):
        return False
    _publish_or_raise(organization_id, actor="bootstrap")
    slug = Organization.objects.values_list("slug", flat=True).get(pk=organization_id)
    return Recovery(live_state()).state(slug).epoch is not None


def publish_everything(organization_id: int) -> None:
    """Publish keys, caps and policy, whatever Redis may still know of them.

    Raises:
        StoreUnavailable: not all could be published.
    """
    _mark_all_behind(organization_id)
    _publish_or_raise(organization_id, actor="rebuild")


def redis_has_lost(organization_id: int) -> bool:
    """Whether Redis no longer knows a policy that was published to it, or knows only an older one.

    Raises:
        StoreUnavailable: Redis cannot be reached.
    """
    published = Release.objects.filter(organization_id=organization_id, published_at__isnull=False).first()
    if published is None:
        return False
    number = _number_in_force(published.organization.slug)
    return number is None or _UNREADABLE < number < published.number


def _number_in_force(organization: str) -> int | None:
    """The number of the policy that gateways obey; None where there is none, `_UNREADABLE` where none can be read."""
    try:
        document = live_state().get_policy(organization)
    except ValueError:
        return _UNREADABLE
    return document.number if document else None


def _publish_or_raise(organization_id: int, *, actor: str) -> None:
    if not publish_changes(organization_id, actor=actor):
        raise StoreUnavailable("the policy could not be published")


def _mark_all_behind(organization_id: int) -> None:
    mark_keys_behind(organization_id)
    mark_caps_behind(organization_id)
    _mark_policy_behind(organization_id)


def _mark_policy_behind(organization_id: int) -> None:
    newest = newest_release(organization_id)
    if newest is not None:
        Release.objects.filter(pk=newest.pk).update(published_at=None)


def _put_in_force(release: Release | None) -> None:
    """Have gateways obey a release, if they obey neither it nor a newer one.

    The first release of an organization also opens it: nothing can have been spent before.
    """
    if release is None or release.live:
        return
    organization = release.organization
    if live_state().publish_policy(document_of(release)):
        if organization.readiness_epoch == 0:
            live_state().set_ready(organization.slug, 1)
            Organization.objects.filter(pk=organization.pk, readiness_epoch=0).update(readiness_epoch=1)
        Release.objects.filter(pk=release.pk).update(published_at=timezone.now())
    elif newest_release(organization.pk) == release:
        logger.error("Redis has another policy of %s than the database; publishing anew", organization)
        above = max(release.number, _number_in_force(organization.slug) or 0)
        _put_in_force(create_release(organization.pk, actor=release.created_by, above=above))
