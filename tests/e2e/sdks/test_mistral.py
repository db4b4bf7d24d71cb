"""The unmodified Mistral SDK, which speaks as OpenAI's does, through the whole system."""

from __future__ import annotations

from typing import Any

import pytest
from mistralai.client import Mistral
from mistralai.client.errors import SDKError

from tests.e2e.system import System, Team

QUESTION: list[Any] = [{"role": "user", "content": "Where is my parcel?"}]


def sdk(team: Team, *, key: str | None = None) -> Mistral:
    """The SDK with its base URL and key changed."""
    return Mistral(api_key=key or team.key, server_url=team.system.gateway)


def test_calls_are_answered_and_booked_to_the_nano_dollar(system: System) -> None:
    team = system.new_team("mistral")

    with sdk(team) as client:
        answer = client.chat.complete(model=team.model, messages=QUESTION, max_tokens=40)
        with client.chat.stream(model=team.model, messages=QUESTION, max_tokens=40) as stream:
            chunks = list(stream)

    assert answer.choices[0].message
    assert answer.choices[0].message.content
    assert len(chunks) > 10
    for row in team.booked(2):
        assert (row["input_tokens"], row["output_tokens"]) == (
            answer.usage.prompt_tokens,
            answer.usage.completion_tokens,
        )


def test_each_refusal_raises_the_sdks_own_error(system: System) -> None:
    team = system.new_team("mistral-empty", cap_nusd=0)

    for key, status, code in (("wrong", 401, "invalid_api_key"), (team.key, 429, "insufficient_quota")):
        with sdk(team, key=key) as client, pytest.raises(SDKError, match=code) as caught:
            client.chat.complete(model=team.model, messages=QUESTION, max_tokens=40)
        assert caught.value.status_code == status
    assert team.books() == []
