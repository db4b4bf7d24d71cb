"""The unmodified Ollama client through the whole system, checked against the provider's own books."""

from __future__ import annotations

from typing import Any, Final

import httpx
import ollama
import pytest

from tests.e2e.system import System, Team, eventually

LLAMA: Final[dict[str, Any]] = {
    "protocol": "ollama_chat",
    "provider_model": "llama3.2",
    "price": {
        "input_usd_per_mtok": "0.02",
        "cache_read_usd_per_mtok": "0.02",
        "cache_write_usd_per_mtok": "0.02",
        "output_usd_per_mtok": "0.02",
    },
}
QUESTION: Final = [{"role": "user", "content": "Where is my parcel?"}]
SHORT: Final = {"num_predict": 40}


def new_team(system: System, name: str, **fields: Any) -> Team:
    team = system.new_team(name, **LLAMA, **fields)
    system.change(f"/api/v1/providers/{team.slug}", base_url=f"{system.provider}/api")
    return team


def client(team: Team, *, key: str | None = None) -> ollama.Client:
    """The client with its host and a key, which Ollama itself does without."""
    return ollama.Client(host=team.system.gateway, headers={"authorization": f"Bearer {key or team.key}"})


def test_calls_are_answered_and_booked_to_the_nano_dollar(system: System) -> None:
    team = new_team(system, "ollama")

    with client(team) as llama:
        chat = llama.chat(model=team.model, messages=QUESTION, options=SHORT)
        lines = list(llama.chat(model=team.model, messages=QUESTION, options=SHORT, stream=True))
        completion = llama.generate(model=team.model, prompt="Where is my parcel?", options={"num_predict": -1})
        pieces = list(llama.generate(model=team.model, prompt="Where is my parcel?", stream=True))

    assert chat.message.content == "".join(line.message.content or "" for line in lines)
    assert completion.response == "".join(piece.response for piece in pieces)
    told = [(each.prompt_eval_count, each.eval_count) for each in (chat, lines[-1], completion, pieces[-1])]
    rows = team.booked(4)
    assert sorted((row["input_tokens"], row["output_tokens"]) for row in rows) == sorted(told)
    assert {(row["protocol"], row["response_model"]) for row in rows} == {("ollama_chat", "llama3.2")}
    assert all(row["amount_nusd"] <= row["hold_nusd"] for row in rows)


def test_each_refusal_raises_the_clients_own_error(system: System) -> None:
    team = new_team(system, "ollama-refused", cap_nusd=0)
    other = new_team(system, "ollama-other")
    refusals = [
        ("wrong", team.model, {}, 401),
        (team.key, other.model, {}, 403),
        (team.key, "no-such-model", {}, 404),
        (team.key, team.model, {"num_thread": 8}, 400),
        (team.key, team.model, {}, 429),
    ]

    for key, model, options, status in refusals:
        with client(team, key=key) as llama, pytest.raises(ollama.ResponseError) as caught:
            llama.chat(model=model, messages=QUESTION, options=options)
        assert caught.value.status_code == status
    assert httpx.post(f"{system.gateway}/api/pull", json={"model": "llama3.2"}).status_code == 404
    assert team.books() == other.books() == []


def test_a_stream_that_breaks_off_costs_no_less_than_the_provider_bills(system: System) -> None:
    team = new_team(system, "ollama-broken")
    team.behave(output_tokens=200, cut_after_tokens=20)

    with client(team) as llama, pytest.raises(httpx.RemoteProtocolError):
        list(llama.chat(model=team.model, messages=QUESTION, options={"num_predict": 1000}, think=False, stream=True))

    [row] = eventually(team.spent_in_ledger, within_s=10, what="the broken call")
    [billed] = team.books()
    assert row["quality"] == "partial"
    assert billed["amount_nusd"] <= row["amount_nusd"] < row["hold_nusd"]
