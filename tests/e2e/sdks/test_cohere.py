"""The unmodified Cohere SDK through the whole system, checked against the provider's own books."""

from __future__ import annotations

from typing import Any, Final

import cohere
import httpx
import pytest
from cohere import UserChatMessageV2
from cohere.core import ApiError

from tests.e2e.system import System, Team, eventually

COHERE: Final[dict[str, Any]] = {
    "protocol": "cohere_chat",
    "provider_model": "command-r-08-2024",
    "price": {
        "input_usd_per_mtok": "0.15",
        "cache_read_usd_per_mtok": "0.15",
        "cache_write_usd_per_mtok": "0.15",
        "output_usd_per_mtok": "0.60",
    },
}
QUESTION: Final[cohere.ChatMessages] = [UserChatMessageV2(content="Where is my parcel?")]


def new_team(system: System, name: str, **fields: Any) -> Team:
    team = system.new_team(name, **COHERE, **fields)
    system.change(f"/api/v1/providers/{team.slug}", base_url=f"{system.provider}/v2")
    return team


def sdk(team: Team, *, key: str | None = None) -> cohere.ClientV2:
    """The SDK with its base URL and key changed."""
    client = team.system.closing(httpx.Client(timeout=60))
    return cohere.ClientV2(api_key=key or team.key, base_url=team.system.gateway, httpx_client=client)


def test_calls_are_answered_and_booked_to_the_nano_dollar(system: System) -> None:
    team = new_team(system, "cohere")

    answer = sdk(team).chat(model=team.model, messages=QUESTION, max_tokens=40)
    events = list(sdk(team).chat_stream(model=team.model, messages=QUESTION, max_tokens=40, temperature=0.1))

    assert answer.message.content
    assert answer.usage is not None
    assert answer.usage.billed_units is not None
    assert [events[0].type, events[-1].type] == ["message-start", "message-end"]
    assert len(events) > 10
    billed = answer.usage.billed_units
    for row in team.booked(2):
        assert (row["input_tokens"], row["output_tokens"]) == (billed.input_tokens, billed.output_tokens)
        assert row["protocol"] == "cohere_chat"
        assert row["amount_nusd"] <= row["hold_nusd"]


def test_each_refusal_raises_the_sdks_own_error(system: System) -> None:
    team = new_team(system, "cohere-refused", cap_nusd=0)
    other = new_team(system, "cohere-other")

    with pytest.raises(cohere.UnauthorizedError):
        sdk(team, key="wrong").chat(model=team.model, messages=QUESTION)
    with pytest.raises(cohere.ForbiddenError):
        sdk(team).chat(model=other.model, messages=QUESTION)
    with pytest.raises(cohere.NotFoundError):
        sdk(team).chat(model="no-such-model", messages=QUESTION)
    with pytest.raises(cohere.BadRequestError, match="raw_prompting"):
        sdk(team).chat(
            model=team.model, messages=QUESTION, request_options={"additional_body_parameters": {"raw_prompting": True}}
        )
    with pytest.raises(cohere.TooManyRequestsError, match="insufficient_quota"):
        sdk(team).chat(model=team.model, messages=QUESTION, request_options={"max_retries": 0})
    assert team.books() == other.books() == []


def test_a_provider_that_fails_is_billed_nothing_and_tells_nothing_of_its_account(system: System) -> None:
    team = new_team(system, "cohere-failing")
    team.behave(fail_status=500)

    with pytest.raises(ApiError) as caught:
        sdk(team).chat(model=team.model, messages=QUESTION, request_options={"max_retries": 0})

    assert not [name for name in caught.value.headers or {} if "call-" in name]
    eventually(lambda: [row for row in team.ledger() if row["kind"] == "voided"], within_s=10, what="the void")
    assert team.spent_in_ledger() == []


def test_a_stream_that_breaks_off_costs_no_less_than_the_provider_bills(system: System) -> None:
    team = new_team(system, "cohere-broken")
    team.behave(output_tokens=200, cut_after_tokens=20)

    with pytest.raises(httpx.RemoteProtocolError):
        list(sdk(team).chat_stream(model=team.model, messages=QUESTION, max_tokens=300))

    [row] = eventually(team.spent_in_ledger, within_s=10, what="the broken call")
    [billed] = team.books()
    assert row["quality"] == "partial"
    assert billed["amount_nusd"] <= row["amount_nusd"] < row["hold_nusd"]
