"""Publishing: a change is live in the request that makes it, or said to wait, and never lost."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

import pytest
import redis
from django.db import connection, transaction

from control_plane.budgets.models import BudgetPeriod
from control_plane.keys.models import VirtualKey
from control_plane.live import VERSION_LEAP
from control_plane.releases.models import Release
from control_plane.releases.selectors import document_of, newest_release
from control_plane.releases.services import publish_at_start, publish_changes, republish
from control_plane.releases.tasks import republish as republish_task
from control_plane.teams.models import Organization
from control_plane.teams.services import create_team
from kong_plugins.llm.release import PolicyDocument, content_checksum, decode_policy, encode_policy
from tests.control_plane.cast import Api, admits, all_at_once

Away = Callable[[], AbstractContextManager[None]]


def newest_document(api: Api) -> PolicyDocument:
    newest = newest_release(api.organization.pk)
    assert newest is not None
    return document_of(newest)


def test_a_release_holds_exactly_what_gateways_read(api: Api) -> None:
    api.deployment()
    api.model("gpt-4.1-nano")
    api.change("models/gpt-4o-mini", degrade_to=["gpt-4.1-nano"])
    api.team()
    api.budget(queue_seconds=10, degrade_at_percent=80, tier_shares_percent={"normal": 70, "experimental": 20})
    api.budget(name="Each user", scope="user", subject=None)
    api.limit(queue_seconds=300, tier_shares_percent={"experimental": 0})

    newest = newest_release(api.organization.pk)

    assert newest is not None
    assert document_of(newest) == api.policy()
    assert decode_policy(encode_policy(document_of(newest))) == api.policy()
    assert newest.checksum == content_checksum(api.policy())
    assert api.policy().created_by == "alice"


def test_a_policy_that_no_gateway_can_read_is_published_anew(api: Api, redis_address: str) -> None:
    api.team("search")
    with redis.Redis.from_url(redis_address) as client:
        client.set(f"bursar:{{{api.organization.slug}}}:policy", b"{}")

    republish_task()

    assert api.policy() == newest_document(api)


def test_an_organization_is_open_from_its_first_release_on(api: Api) -> None:
    assert Organization.objects.get().readiness_epoch == 1
    assert admits(api.store, api.organization.slug)


def test_equal_content_makes_no_release(api: Api) -> None:
    api.team(tier="normal")
    before = Release.objects.count()

    api.change("teams/search", tier="normal")
    api.change("teams/search", name="Only the pages show it")
    publish_changes(api.organization.pk, actor="bob")

    assert Release.objects.count() == before


def test_what_is_taken_back_gives_the_content_and_checksum_of_before(api: Api) -> None:
    api.model("large")
    api.model("small")
    api.team()
    budget_id, limit_id = api.budget()["id"], api.limit()["id"]
    before = api.policy()

    api.change(f"budgets/{budget_id}", queue_seconds=10, degrade_at_percent=80, tier_shares_percent={"normal": 70})
    api.change(f"limits/{limit_id}", queue_seconds=10, tier_shares_percent={"normal": 70, "experimental": 20})
    api.change("models/large", degrade_to=["small"])
    checksums = {before.checksum, api.policy().checksum}
    api.change(f"budgets/{budget_id}", queue_seconds=0, degrade_at_percent=None, tier_shares_percent={})
    api.change(f"limits/{limit_id}", queue_seconds=0, tier_shares_percent={"experimental": 100, "normal": 100})
    api.change("models/large", degrade_to=[])

    assert len(checksums) == 2
    assert api.policy().checksum == before.checksum
    assert api.policy().number == before.number + 6


def test_a_key_makes_no_release(api: Api) -> None:
    api.team()
    before = Release.objects.count()

    api.create("keys", team="search", name="search-prod")

    assert Release.objects.count() == before


def test_what_is_rolled_back_is_not_published(api: Api) -> None:
    def fail() -> None:
        with transaction.atomic():
            create_team(organization_id=api.organization.pk, slug="search", name="Search", actor="alice")
            raise RuntimeError("after the service")

    with pytest.raises(RuntimeError):
        fail()

    assert api.policy().teams == ()


def test_changes_at_the_same_moment_number_their_releases_without_gap_and_end_with_the_newest(api: Api) -> None:
    all_at_once([partial(api.team, f"team-{n}") for n in range(8)])

    numbers = list(Release.objects.order_by("number").values_list("number", flat=True))
    assert numbers == list(range(1, len(numbers) + 1))
    assert api.policy() == newest_document(api)
    assert len(api.policy().teams) == 8


def test_without_redis_a_change_is_kept_and_said_to_wait(api: Api, redis_away: Away) -> None:
    with redis_away():
        answer = api.call("POST", "teams", {"slug": "search", "name": "Search"})
        health = api.call("GET", "health")

    assert answer.status_code == 201
    assert answer["x-bursar-live"] == "false"
    assert (health.status_code, health.json()["redis"]) == (503, "unavailable")
    assert Organization.objects.get().behind_since is not None
    assert api.policy().teams == ()


def test_what_waits_becomes_live_as_soon_as_redis_is_back(api: Api, redis_away: Away) -> None:
    api.team("search")
    key_id = api.create("keys", team="search", name="search-prod")["id"]
    budget_id = api.budget(amount=1)["id"]
    with redis_away():
        api.change("teams/search", tier="critical")
        api.call("POST", f"keys/{key_id}/revoke")
        api.change(f"budgets/{budget_id}", amount=2)
        republish_task()

    republish_task()

    record = api.store.get_key(key_id)
    period = BudgetPeriod.objects.filter(budget_id=budget_id).first()
    assert record is not None
    assert period is not None
    state = api.store.budget_state(api.organization.slug, str(budget_id), "search", period.name)
    assert api.policy().teams[0].tier == "critical"
    assert (record.active, record.tier) == (False, "critical")
    assert state is not None
    assert state.cap == 2
    assert Organization.objects.get().behind_since is None


def test_the_next_change_brings_along_what_waited(api: Api, redis_away: Away) -> None:
    with redis_away():
        api.team("search")

    answer = api.call("POST", "teams", {"slug": "support", "name": "Support"})

    assert answer["x-bursar-live"] == "true"
    assert [team.id for team in api.policy().teams] == ["search", "support"]


def test_what_redis_has_lost_is_published_anew_but_admission_stays_closed(
    api: Api, forget_everything: Callable[[], None]
) -> None:
    api.team("search")
    key_id = api.create("keys", team="search", name="search-prod")["id"]
    budget_id = api.budget()["id"]
    assert admits(api.store, api.organization.slug)
    before = api.policy()
    forget_everything()

    assert not publish_at_start(api.organization.pk)
    assert republish(api.organization.pk)

    assert not admits(api.store, api.organization.slug)
    row = BudgetPeriod.objects.filter(budget_id=budget_id).first()
    assert row is not None
    assert api.policy() == before
    assert api.store.get_key(key_id) is not None
    assert api.store.budget_state(api.organization.slug, str(budget_id), "search", row.name) is not None


def test_a_database_restored_from_a_backup_wins_over_a_redis_that_is_ahead(api: Api) -> None:
    api.team("search")
    key_id = api.create("keys", team="search", name="search-prod")["id"]
    budget_id = api.budget(amount=1)["id"]
    release = newest_release(api.organization.pk)
    assert release is not None
    for number in range(3):
        api.change("teams/search", tier=("critical", "experimental", "critical")[number])
        api.change(f"budgets/{budget_id}", amount=100 + number)
    # The backup: the rows as they were before the three changes.
    Release.objects.filter(number__gt=release.number).delete()
    VirtualKey.objects.update(version=1, published_version=0)
    BudgetPeriod.objects.update(version=1, published_version=0, cap=1)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE teams_team SET tier = 'normal'")
        cursor.execute("UPDATE budgets_budget SET amount = 1")
    Release.objects.filter(pk=release.pk).update(published_at=None)

    assert publish_changes(api.organization.pk, actor="restore")

    record = api.store.get_key(key_id)
    row = BudgetPeriod.objects.filter(budget_id=budget_id).first()
    assert record is not None
    assert row is not None
    state = api.store.budget_state(api.organization.slug, str(budget_id), "search", row.name)
    assert (record.tier, record.version) == ("normal", 1 + VERSION_LEAP)
    assert api.policy().teams[0].tier == "normal"
    assert api.policy() == newest_document(api)
    assert state is not None
    assert state.cap == 1


def test_the_periodic_task_does_every_organization_and_nothing_twice(api: Api) -> None:
    before = (Release.objects.count(), VirtualKey.objects.count())

    all_at_once([republish_task] * 3)

    assert (Release.objects.count(), VirtualKey.objects.count()) == before
