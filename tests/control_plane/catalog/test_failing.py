"""Which deployments are failing, as Alice and her programs see it, and how they end that."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import pytest
from django.test import Client, override_settings

from control_plane.live import live_state
from kong_plugins.llm.marks import Marks
from tests.control_plane.cast import Api


@pytest.fixture
def deployment(api: Api) -> Any:
    """One of two deployments, which has failed twice."""
    made = api.deployment()
    spare = {"provider_model": "gpt-4o-mini-2", "price": None}
    api.create("deployments", model=made["model"], provider=made["provider"], **spare)
    for reserved_at_ms in (0, 2**50):
        Marks(api.store).note(
            api.organization.slug,
            str(made["id"]),
            "failed",
            request_id="r",
            reserved_at_ms=reserved_at_ms,
            status=529,
            passed_over_ms=60_000,
        )
    return made


def text_of(pages: Client, path: str) -> str:
    body = pages.get(path).content.decode().split("<body", 1)[1]
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


def test_a_program_sees_which_are_marked_since_when_and_until_when(api: Api, deployment: Any) -> None:
    [row] = api.get("deployments/failing")

    assert (row["deployment"], row["model"], row["provider"]) == (
        deployment["id"],
        deployment["model"],
        deployment["provider"],
    )
    assert (row["failures"], row["status"], row["is_being_tried"]) == (2, 529, False)
    since, last, until = (datetime.fromisoformat(row[name]) for name in ("since", "last_failure_at", "until"))
    assert since <= last < until
    assert (until - last).total_seconds() == 60


def test_a_mark_is_taken_away_at_once_and_once_more_does_no_harm(api: Api, deployment: Any) -> None:
    for _ in range(2):
        answer = api.call("POST", f"deployments/{deployment['id']}/clear-mark")
        assert (answer.status_code, answer.json()["id"]) == (200, deployment["id"])

    assert api.get("deployments/failing") == []
    assert Marks(api.store).all(api.organization.slug) == {}


def test_nobody_can_clear_what_is_not_theirs_or_ask_for_what_there_is_not(api: Api, deployment: Any) -> None:
    assert api.call("POST", f"deployments/{deployment['id'] + 10_000}/clear-mark").status_code == 404
    assert api.refused_fields("GET", "deployments/failing?colour=red", None) == {"colour"}


def test_without_redis_it_is_said_that_nothing_is_known(api: Api, pages: Client, deployment: Any) -> None:
    live_state.cache_clear()
    with override_settings(REDIS_URL="redis://127.0.0.1:1/0", REDIS_TIMEOUT_MS=50):
        assert api.call("GET", "deployments/failing").status_code == 503
        assert "is not known right now" in text_of(pages, "/admin/catalog/deployment/")
        assert "is not known right now" in text_of(pages, f"/admin/catalog/deployment/{deployment['id']}/change/")
    live_state.cache_clear()


def test_alice_sees_it_in_the_list_and_on_the_page_and_clears_the_mark(
    api: Api, pages: Client, deployment: Any
) -> None:
    page = f"/admin/catalog/deployment/{deployment['id']}/change/"
    assert text_of(pages, "/admin/catalog/deployment/").count(" failing ") == 1
    assert "It has failed 2 times in a row since" in text_of(pages, page)

    clear = f"/admin/catalog/deployment/{deployment['id']}/clear_mark/"
    said = [pages.post(clear, {"_form_submitted": "True"}).status_code for _ in range(2)]
    assert said == [200, 200]

    assert Marks(api.store).all(api.organization.slug) == {}
    assert "No. Calls go there." in text_of(pages, page)
