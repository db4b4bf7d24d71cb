"""The unmodified google-genai SDK through the whole system, checked against the provider's own books."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import httpx
import httpx2
import pytest
from google import genai
from google.genai import errors
from google.genai.types import GenerateContentConfig, HttpOptions, Part, ThinkingConfig

from tests.e2e.system import System, Team, eventually

GEMINI: Final[dict[str, Any]] = {
    "protocol": "gemini",
    "provider_model": "gemini-2.5-flash",
    "price": {
        "input_usd_per_mtok": "0.30",
        "cache_read_usd_per_mtok": "0.03",
        "cache_write_usd_per_mtok": "0.30",
        "output_usd_per_mtok": "2.50",
    },
}
QUESTION: Final = "Where is my parcel?"
SHORT: Final = GenerateContentConfig(max_output_tokens=40)


def new_team(system: System, name: str, **fields: Any) -> Team:
    return system.new_team(name, **GEMINI, **fields)


def sdk(team: Team, *, key: str | None = None, vertexai: bool = False) -> genai.Client:
    """The SDK with its base URL and key changed, and nothing else."""
    options = HttpOptions(base_url=team.system.gateway, timeout=60_000)
    return team.system.closing(genai.Client(api_key=key or team.key, vertexai=vertexai, http_options=options))


def test_a_plain_call_is_answered_and_booked_to_the_nano_dollar(system: System) -> None:
    team = new_team(system, "gemini")
    team.behave(cache_read_tokens=5, thought_tokens=30)

    answer = sdk(team).models.generate_content(model=team.model, contents=QUESTION, config=SHORT)

    usage = answer.usage_metadata
    assert answer.text
    assert usage is not None
    assert (usage.thoughts_token_count, usage.cached_content_token_count) == (30, 5)
    [row] = team.booked()
    assert (row["input_tokens"], row["cache_read_tokens"]) == (usage.prompt_token_count, 5)
    assert (row["output_tokens"], row["reasoning_tokens"]) == ((usage.candidates_token_count or 0) + 30, 30)
    assert (row["protocol"], row["response_model"]) == ("gemini", "gemini-2.5-flash")
    assert row["amount_nusd"] <= row["hold_nusd"]
    headers = answer.sdk_http_response.headers if answer.sdk_http_response else None
    assert headers is not None
    assert headers["x-bursar-model"] == f"{team.slug}/gemini-2.5-flash"
    [billed] = team.books()
    assert billed["account"] == team.account
    assert "x-goog-api-client" not in billed["header_names"]


# The SDK inherits from aiohttp's session, which aiohttp warns of.
@pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")
def test_a_streamed_call_keeps_every_chunk_and_is_booked_exactly(system: System) -> None:
    team = new_team(system, "gemini-stream")
    team.behave(thought_tokens=9)

    async def listen() -> str | None:
        async with sdk(team).aio as client:
            stream = await client.models.generate_content_stream(model=team.model, contents=QUESTION, config=SHORT)
            return "".join([chunk.text or "" async for chunk in stream])

    chunks = list(sdk(team).models.generate_content_stream(model=team.model, contents=QUESTION, config=SHORT))
    heard = asyncio.run(listen())

    assert len(chunks) > 10
    assert heard == "".join(chunk.text or "" for chunk in chunks)
    usage = chunks[-1].usage_metadata
    assert usage is not None
    for row in team.booked(2):
        assert row["output_tokens"] == (usage.total_token_count or 0) - (usage.prompt_token_count or 0)
        assert row["reasoning_tokens"] == 9


def test_a_stream_without_events_is_one_array_and_booked_exactly_too(system: System) -> None:
    team = new_team(system, "gemini-array")
    url = f"{system.gateway}/v1beta/models/{team.model}:streamGenerateContent?key={team.key}"

    answer = httpx.post(url, json={"contents": [{"parts": [{"text": QUESTION}]}]}, timeout=60)

    chunks = answer.raise_for_status().json()
    assert len(chunks) > 10
    [row] = team.booked()
    assert row["output_tokens"] == chunks[-1]["usageMetadata"]["candidatesTokenCount"]


def test_functions_thoughts_and_several_answers_pass(system: System) -> None:
    team = new_team(system, "gemini-options")

    def find_parcel(number: str) -> str:
        """Say where a parcel is."""
        return f"{number} is on its way"

    config = GenerateContentConfig(
        max_output_tokens=20,
        candidate_count=2,
        temperature=0.1,
        system_instruction="Be brief.",
        tools=[find_parcel],
        response_mime_type="application/json",
        response_schema={"type": "OBJECT"},
        thinking_config=ThinkingConfig(thinking_budget=10, include_thoughts=True),
    )
    team.behave(thought_tokens=50)

    picture = Part.from_bytes(data=b"\x89PNG", mime_type="image/png")
    answer = sdk(team).models.generate_content(model=team.model, contents=[QUESTION, picture], config=config)

    assert len(answer.candidates or ()) == 2
    [row] = team.booked()
    assert row["input_bound_tokens"] == 128_000
    assert row["output_tokens"] <= 2 * (20 + 10)


def test_vertex_ai_is_reached_through_a_base_url_and_asked_for_on_its_own_paths(system: System) -> None:
    team = new_team(system, "gemini-vertex")
    vertex = f"{system.provider}/v1/projects/acme/locations/europe-west1/publishers/google"
    system.change(f"/api/v1/providers/{team.slug}", base_url=vertex)

    answer = sdk(team, vertexai=True).models.generate_content(model=team.model, contents=QUESTION, config=SHORT)

    assert answer.text
    assert len(team.booked()) == 1


def test_each_refusal_raises_the_sdks_own_error(system: System) -> None:
    team = new_team(system, "gemini-refused", cap_nusd=0)
    other = new_team(system, "gemini-other")
    refusals: list[tuple[genai.Client, str, dict[str, Any], int, str]] = [
        (sdk(team, key="AIzaWrong"), team.model, {}, 401, "UNAUTHENTICATED"),
        (sdk(team), other.model, {}, 403, "PERMISSION_DENIED"),
        (sdk(team), "no-such-model", {}, 404, "NOT_FOUND"),
        (sdk(team), team.model, {"tools": [{"google_search": {}}]}, 400, "INVALID_ARGUMENT"),
        (sdk(team), team.model, {"cached_content": "cachedContents/x"}, 400, "INVALID_ARGUMENT"),
        (sdk(team), team.model, {}, 429, "RESOURCE_EXHAUSTED"),
    ]

    for client, model, config, code, status in refusals:
        with pytest.raises(errors.ClientError) as caught:
            client.models.generate_content(model=model, contents=QUESTION, config=GenerateContentConfig(**config))
        assert (caught.value.code, caught.value.status) == (code, status)
    with pytest.raises(errors.ClientError, match="insufficient_quota"):
        list(sdk(team).models.generate_content_stream(model=team.model, contents=QUESTION))
    trick = f"{system.gateway}/v1beta/models/..%2F..%2F{team.model}:generateContent"
    tricked = httpx.post(trick, headers={"x-goog-api-key": team.key}, json={"contents": [{"parts": [{"text": "a"}]}]})
    assert tricked.json()["error"]["status"] == "NOT_FOUND"
    assert team.books() == other.books() == []


def test_a_provider_that_fails_is_heard_in_its_own_words_and_billed_nothing(system: System) -> None:
    team = new_team(system, "gemini-failing")
    team.behave(fail_status=503)

    with pytest.raises(errors.ServerError, match="overloaded"):
        sdk(team).models.generate_content(model=team.model, contents=QUESTION, config=SHORT)

    eventually(lambda: [row for row in team.ledger() if row["kind"] == "voided"], within_s=10, what="the void")
    assert team.spent_in_ledger() == []


def test_a_stream_that_breaks_off_costs_no_less_than_the_provider_bills(system: System) -> None:
    team = new_team(system, "gemini-broken")
    team.behave(output_tokens=200, cut_after_tokens=20)
    config = GenerateContentConfig(max_output_tokens=300, thinking_config=ThinkingConfig(thinking_budget=0))

    with pytest.raises(httpx2.RemoteProtocolError):
        list(sdk(team).models.generate_content_stream(model=team.model, contents=QUESTION, config=config))

    [row] = eventually(team.spent_in_ledger, within_s=10, what="the broken call")
    [billed] = team.books()
    assert row["quality"] == "partial"
    assert billed["amount_nusd"] <= row["amount_nusd"] < row["hold_nusd"]


@pytest.mark.parametrize(
    "path",
    [
        "/v1beta/models/{model}:countTokens",
        "/v1beta/models/{model}:batchGenerateContent",
        "/v1beta/models/{model}:generateContent/x",
        "/v1beta/models/a/{model}:generateContent",
        "/v1beta/cachedContents",
        "/upload/v1beta/files",
    ],
)
def test_another_path_is_not_served(system: System, path: str) -> None:
    headers = {"x-goog-api-key": "any"}

    assert httpx.post(system.gateway + path.format(model="mini"), headers=headers, json={}).status_code == 404
