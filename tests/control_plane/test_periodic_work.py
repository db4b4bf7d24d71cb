"""Periodic work: every scheduled task exists, and two beats do no harm."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.conf import settings
from django.db import connection

from control_plane.celery import app
from control_plane.leases import lease
from tests.control_plane.cast import all_at_once


def test_every_scheduled_task_exists_and_expires_with_its_interval() -> None:
    app.loader.import_default_modules()

    schedule: dict[str, Any] = settings.CELERY_BEAT_SCHEDULE
    for entry in schedule.values():
        assert entry["task"] in app.tasks
        assert entry["options"]["expires"] <= entry["schedule"]


def test_tasks_travel_as_json_and_are_not_lost_with_their_worker() -> None:
    assert app.conf.accept_content == ["json"]
    assert app.conf.task_acks_late
    assert app.conf.task_reject_on_worker_lost
    assert app.conf.worker_prefetch_multiplier == 1
    assert app.conf.task_time_limit < app.conf.broker_transport_options["visibility_timeout"]


@pytest.mark.django_db(transaction=True)
def test_of_many_who_want_a_lease_at_once_one_gets_it() -> None:
    everyone_has_asked = threading.Barrier(8)

    def work() -> bool:
        with lease("some work") as taken:
            everyone_has_asked.wait()
            return taken

    assert sorted(all_at_once([work] * 8)) == [False] * 7 + [True]


@pytest.mark.django_db(transaction=True)
def test_a_lease_ends_with_its_block_even_after_an_error() -> None:
    def fail() -> None:
        with lease("some work"):
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        fail()

    def take() -> bool:
        with lease("some work") as taken:
            return taken

    assert all_at_once([take]) == [True]


@pytest.mark.django_db(transaction=True)
def test_different_work_does_not_wait_for_each_other() -> None:
    def take() -> bool:
        with lease("other work") as taken:
            return taken

    with lease("some work") as taken:
        assert taken
        assert all_at_once([take]) == [True]
    assert connection.connection is not None
