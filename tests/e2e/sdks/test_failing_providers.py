"""A provider fails a call, and the SDK's own retry is served elsewhere: its user sees an answer, and pays for one."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from typing import Any

import httpx
import openai
import pytest
from anthropic import Anthropic
from openai import OpenAI

from stack.ports import HOST
from tests.documents import CONTROL_PLANE, follow, shell_blocks
from tests.e2e.sdks.silent_server import silent_server
from tests.e2e.system import CLAUDE, PRICE, PROVIDER_MODEL, System, Team, eventually

QUESTION: Any = [{"role": "user", "content": "Where is my parcel?"}]


def new_team(system: System, name: str, *, base_url: str | None = None, **deployment: Any) -> tuple[Team, Team]:
    """A team whose model has two deployments: at `base_url`, by default the provider as usual, and after that, at an
    account of its own, a spare one. The second is the team as that account's books know it."""
    team = system.new_team(name, **deployment)
    if base_url is not None:
        system.change(f"/api/v1/providers/{team.slug}", base_url=base_url)
    spare = replace(team, account=f"{team.account}-spare")
    name = f"{team.slug}-spare"
    system.create("providers", name=name, base_url=f"{system.provider}/v1", credential=spare.account)
    served = {"provider_model": PROVIDER_MODEL, "price": PRICE, "order": 1} | deployment
    system.create("deployments", model=team.model, provider=name, **served)
    return team, spare


def openai_sdk(team: Team) -> OpenAI:
    """The SDK as it comes, with its own retries."""
    return team.system.closing(OpenAI(base_url=f"{team.system.gateway}/v1", api_key=team.key))


def anthropic_sdk(team: Team) -> Anthropic:
    return team.system.closing(Anthropic(base_url=team.system.gateway, api_key=team.key))


def attempts(team: Team) -> list[dict[str, Any]]:
    """The ledger's rows as soon as there is a call to be paid for, in the order of the attempts."""
    eventually(team.spent_in_ledger, within_s=20, what="a call in the ledger")
    return sorted(team.ledger(), key=lambda row: str(row["reserved_at"]))


def assert_the_answer_was_paid_for(team: Team, spare: Team, status: int) -> None:
    """And nothing else. On a slow machine, a second attempt may fail as the first one did."""
    *failed, answered = attempts(team)
    assert failed
    for row in failed:
        assert (row["kind"], row["http_status"], row["amount_nusd"]) == ("voided", status, 0)
    assert answered["kind"] == "posted"
    assert answered["candidates"] == [f"{failed[0]['deployment']}: failing", answered["deployment"]]
    assert len({row["request_id"] for row in (*failed, answered)}) == len(failed) + 1
    [billed] = spare.books()
    assert (billed["client_request_id"], billed["amount_nusd"]) == (answered["request_id"], answered["amount_nusd"])
    assert sum(call["amount_nusd"] for call in team.books()) == 0


def unreachable_answer(team: Team) -> httpx.Response | None:
    """The answer to a call once its provider cannot be reached."""
    answer = team.post(team.request())
    return answer if answer.status_code == 502 else None


@pytest.fixture(scope="module")
def unreachable() -> Iterator[str]:
    """A base URL where nobody listens, and nobody else will."""
    with closing(socket.socket()) as taken:
        taken.bind((HOST, 0))
        yield f"http://{HOST}:{taken.getsockname()[1]}/v1"


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("status", [429, 500, 401])
def test_the_user_of_openais_sdk_sees_an_answer_although_the_provider_failed(
    system: System, status: int, stream: bool
) -> None:
    team, spare = new_team(system, "fails")
    team.behave(fail_status=status)

    answer: Any = openai_sdk(team).chat.completions.create(model=team.model, messages=QUESTION, stream=stream)

    if stream:
        assert any(chunk.choices and chunk.choices[0].delta.content for chunk in answer)
    else:
        assert answer.choices[0].message.content
    assert_the_answer_was_paid_for(team, spare, status)


def test_the_user_of_anthropics_sdk_sees_an_answer_although_the_provider_is_overloaded(system: System) -> None:
    team, spare = new_team(system, "fails-claude", **CLAUDE)
    team.behave(fail_status=529)

    with anthropic_sdk(team).messages.stream(model=team.model, max_tokens=40, messages=QUESTION) as stream:
        assert "".join(stream.text_stream)

    assert_the_answer_was_paid_for(team, spare, 529)


def test_a_provider_that_cannot_be_reached_is_passed_over(system: System, unreachable: str) -> None:
    team, spare = new_team(system, "unreachable", base_url=unreachable)

    assert openai_sdk(team).chat.completions.create(model=team.model, messages=QUESTION).choices

    assert_the_answer_was_paid_for(team, spare, 502)


def test_the_only_provider_is_heard_and_obeyed(system: System, unreachable: str) -> None:
    team = system.new_team("alone")
    team.behave(fail_status=429, fail_times=1)

    first = team.post(team.request())
    again = team.post(team.request())

    assert (first.status_code, first.headers["retry-after"]) == (429, "1")
    assert "retry-after-ms" not in first.headers
    assert again.status_code == 200, "although it is marked"

    system.change(f"/api/v1/providers/{team.slug}", base_url=unreachable)
    unreached = eventually(lambda: unreachable_answer(team), within_s=20, what="the new address is in force")
    assert unreached.headers["content-type"] == "application/json"
    assert unreached.json()["error"] == {
        "message": "The provider could not be reached.",
        "type": "server_error",
        "param": None,
        "code": "provider_unavailable",
    }
    assert "x-should-retry" not in unreached.headers


def test_a_call_that_may_have_been_billed_is_charged_once_and_not_sent_again(system: System) -> None:
    with silent_server() as address:
        team, spare = new_team(system, "silent", base_url=f"{address}/v1")

        with pytest.raises(openai.InternalServerError, match="may have been billed") as caught:
            openai_sdk(team).chat.completions.create(model=team.model, messages=QUESTION)

        assert caught.value.response.headers["x-should-retry"] == "false"
        [row] = attempts(team)
        assert (row["kind"], row["outcome"], row["amount_nusd"]) == ("posted", "unanswered", row["hold_nusd"])
        assert spare.books() == []
        eventually(
            lambda: team.post(team.request()).status_code == 200, within_s=20, what="the next call is served elsewhere"
        )


def test_a_crowd_that_a_provider_begins_to_fail_is_served_by_the_other_one(system: System) -> None:
    team, spare = new_team(system, "crowd")
    team.behave(fail_status=503)
    sdk = openai_sdk(team)

    def call(_: int) -> bool:
        return bool(sdk.chat.completions.create(model=team.model, messages=QUESTION, max_tokens=5).choices)

    with ThreadPoolExecutor(16) as crowd:
        assert all(crowd.map(call, range(48)))

    assert [call["status"] for call in spare.books()] == [200] * 48
    booked = {call["client_request_id"]: call["amount_nusd"] for call in spare.books()}
    rows = eventually(
        lambda: rows if len(rows := team.spent_in_ledger()) == 48 else None, within_s=20, what="48 calls in the ledger"
    )
    assert {row["request_id"]: row["amount_nusd"] for row in rows} == booked


def test_who_follows_the_document_sees_what_is_failing_and_ends_it(system: System) -> None:
    team, _ = new_team(system, "documented")
    team.behave(fail_status=401)
    assert openai_sdk(team).chat.completions.create(model=team.model, messages=QUESTION).choices
    look, clear = shell_blocks("failing-providers.md")

    [failing] = [row for row in json.loads(run(look, system)) if row["model"] == team.model]
    assert (failing["provider"], failing["status"], failing["failures"]) == (team.slug, 401, 1)

    definitions = look.splitlines()[:-1]
    cleared = run("\n".join([*definitions, clear]), system, deployment=failing["deployment"])
    assert json.loads(cleared)["id"] == failing["deployment"]
    assert team.model not in run(look, system)


def run(commands: str, system: System, *, deployment: int = 0) -> str:
    """What the document's commands print, run as they stand."""
    environment = {**os.environ, "BURSAR_TOKEN": system.ready["api_token"], "DEPLOYMENT": str(deployment)}
    return follow(commands, {CONTROL_PLANE: system.ready["control_plane"]}, environment)
