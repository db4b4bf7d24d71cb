"""One governed call, from an unmodified SDK to the ledger, checked against the provider's own books."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from tests.e2e.system import System, Team, eventually


def ledger_with(team: Team, calls: int) -> list[dict[str, Any]]:
    def look() -> list[dict[str, Any]] | None:
        rows = team.spent_in_ledger()
        return rows if len(rows) >= calls else None

    return eventually(look, within_s=3, what=f"{calls} calls in the ledger")


def test_a_plain_call_is_answered_and_booked_to_the_nano_dollar(system: System) -> None:
    team = system.new_team("plain")

    answer = team.sdk().chat.completions.create(
        model=team.model, messages=[{"role": "user", "content": "Where is my parcel?"}], max_tokens=40
    )

    assert answer.choices[0].message.content
    [row] = ledger_with(team, 1)
    [billed] = team.books()
    assert row["amount_nusd"] == billed["amount_nusd"] > 0
    assert (row["input_tokens"], row["output_tokens"]) == (billed["input_tokens"], billed["output_tokens"])
    assert row["quality"] == "exact"
    assert row["request_id"] == billed["client_request_id"]
    assert (row["team"], row["key"], row["request_model"]) == (team.slug, team.key_id, team.model)


def test_a_streamed_call_hides_the_usage_chunk_that_the_client_did_not_ask_for(system: System) -> None:
    team = system.new_team("streamed")

    chunks = list(
        team.sdk().chat.completions.create(
            model=team.model, messages=[{"role": "user", "content": "Tell me a story"}], max_tokens=60, stream=True
        )
    )

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert all(chunk.usage is None for chunk in chunks)
    [row] = ledger_with(team, 1)
    [billed] = team.books()
    assert row["amount_nusd"] == billed["amount_nusd"] > 0
    assert row["quality"] == "exact"


def test_a_client_that_asks_for_usage_gets_the_providers_chunk(system: System) -> None:
    team = system.new_team("usage")

    chunks = list(
        team.sdk().chat.completions.create(
            model=team.model,
            messages=[{"role": "user", "content": "Count to ten"}],
            max_tokens=30,
            stream=True,
            stream_options={"include_usage": True},
        )
    )

    [billed] = team.books()
    usage = chunks[-1].usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == (billed["input_tokens"], billed["output_tokens"])


def test_the_first_streamed_byte_arrives_before_the_provider_has_finished(system: System) -> None:
    team = system.new_team("slow")
    team.behave(token_ms=50, output_tokens=40)

    stream = team.sdk().chat.completions.create(
        model=team.model, messages=[{"role": "user", "content": "Slowly, please"}], max_tokens=40, stream=True
    )
    next(iter(stream))

    [billed] = team.books()
    assert not billed["finished"]
    list(stream)


def test_spend_is_attributed_to_team_key_user_and_model(system: System) -> None:
    team = system.new_team("spend")
    team.post(team.request(max_tokens=20), **{"x-user-id": "alice"}).raise_for_status()
    team.post(team.request(max_tokens=20), **{"x-user-id": "bob"}).raise_for_status()
    ledger_with(team, 2)
    billed = {call["client_request_id"]: call for call in team.books()}
    total_nusd = sum(call["amount_nusd"] for call in billed.values())

    def spend(group_by: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = system.api.get(f"/api/v1/spend?group_by={group_by}").raise_for_status().json()
        return rows

    [by_team] = [row for row in spend("team") if row["team"] == team.slug]
    assert (by_team["amount_nusd"], by_team["requests"]) == (total_nusd, 2)
    assert by_team["input_tokens"] == sum(call["input_tokens"] for call in billed.values())
    assert by_team["output_tokens"] == sum(call["output_tokens"] for call in billed.values())
    [by_key] = [row for row in spend("key") if row["key"] == team.key_id]
    assert by_key["amount_nusd"] == total_nusd
    [by_model] = [row for row in spend("model") if row["model"] == team.model]
    assert by_model["amount_nusd"] == total_nusd
    assert {"alice", "bob"} <= {row["user"] for row in spend("user")}


def test_the_provider_sees_its_own_key_and_nothing_of_the_callers_identity(system: System) -> None:
    team = system.new_team("identity")

    answer = team.post(
        team.request(max_tokens=5), **{"x-user-id": "alice", "x-bursar-anything": "1", "cookie": "session=secret"}
    )

    answer.raise_for_status()
    [billed] = team.books()
    assert billed["account"] == team.account
    assert not {"x-user-id", "x-bursar-anything", "cookie", "x-api-key"} & set(billed["header_names"])
    assert answer.headers["x-bursar-request-id"] == billed["client_request_id"]


def test_the_sdk_lists_the_models_that_the_key_may_use(system: System) -> None:
    team = system.new_team("models")
    sdk = team.sdk()

    assert team.model in [model.id for model in sdk.models.list()]
    assert sdk.models.retrieve(team.model).id == team.model
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        sdk.models.retrieve("no-such-model")
