"""The unmodified OpenAI SDK through the whole system, checked against the provider's own books."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionFunctionToolParam, ChatCompletionMessageParam
from openai.types.responses import FunctionToolParam
from pydantic import BaseModel

from tests.e2e.system import System

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Where is my parcel?"}]
PARAMETERS: dict[str, object] = {"type": "object", "properties": {"note": {"type": "string"}}, "required": ["note"]}
CHAT_TOOL: ChatCompletionFunctionToolParam = {
    "type": "function",
    "function": {"name": "leave_note", "parameters": PARAMETERS},
}
TOOL: FunctionToolParam = {"type": "function", "name": "leave_note", "parameters": PARAMETERS, "strict": False}


def priced(protocol: str, provider_model: str, read: str, written: str, **pieces: str) -> dict[str, Any]:
    """What `System.new_team` needs to know of a model: US dollars per million tokens, or for each piece."""
    price: dict[str, Any] = dict.fromkeys(("input", "cache_read", "cache_write"), read) | {"output": written}
    rates = {f"{name}_usd_per_mtok": rate for name, rate in price.items()}
    if pieces:
        rates["usd_per_piece"] = pieces
    return {"protocol": protocol, "provider_model": provider_model, "price": rates}


EMBEDDINGS = priced("openai_embeddings", "text-embedding-3-small", "0.02", "0")
COMPLETIONS = priced("openai_completions", "gpt-3.5-turbo-instruct", "1.50", "2.00")
IMAGES = priced("openai_images", "gpt-image-1.5", "5.00", "32.00")
PICTURES = priced("openai_images", "dall-e-3", "0", "0", **{"image:hd:1024x1792": "0.12", "image:hd": "0.08"})
TTS = priced("openai_speech", "gpt-4o-mini-tts", "0.60", "12.00")
TTS_1 = priced("openai_speech", "tts-1", "0", "0", character="0.000015")


class Note(BaseModel):
    note: str


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_a_chat_is_answered_and_booked_to_the_nano_dollar(system: System, stream: bool) -> None:
    team = system.new_team("sdk-chat")
    team.behave(cache_read_tokens=3, output_tokens=20)

    if stream:
        with team.sdk().chat.completions.stream(model=team.model, messages=HELLO, max_tokens=40) as events:
            answer = events.get_final_completion()
    else:
        answer = team.sdk().chat.completions.parse(model=team.model, messages=HELLO, max_tokens=40)

    assert answer.choices[0].message.content
    [row] = team.booked()
    assert (row["cache_read_tokens"], row["response_model"]) == (3, "gpt-4o-mini-2024-07-18")


def test_structured_outputs_tool_calls_and_raw_answers_of_a_chat_are_booked(system: System) -> None:
    team = system.new_team("sdk-chat-more")
    sdk = team.sdk()

    raw = sdk.chat.completions.with_raw_response.create(
        model=team.model, messages=HELLO, max_tokens=20, tools=[CHAT_TOOL], n=2
    )
    form = {"type": "json_schema", "json_schema": {"name": "note", "schema": PARAMETERS}}
    sdk.chat.completions.create(model=team.model, messages=HELLO, max_tokens=20, response_format=form)  # type: ignore[call-overload]

    assert raw.parse().choices[1].message.content
    rows = team.booked(2)
    assert raw.headers["x-bursar-request-id"] in {row["request_id"] for row in rows}


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_a_response_is_answered_and_booked_to_the_nano_dollar(system: System, stream: bool) -> None:
    team = system.new_team("sdk-responses", protocol="openai_responses")
    team.behave(cache_read_tokens=3, output_tokens=20)

    if stream:
        with team.sdk().responses.stream(model=team.model, input="Where is my parcel?", max_output_tokens=40) as events:
            kinds = [event.type for event in events]
            answer = events.get_final_response()
        assert kinds[-1] in ("response.completed", "response.incomplete")
    else:
        answer = team.sdk().responses.parse(model=team.model, input="Where is my parcel?", max_output_tokens=40)

    assert answer.output_text
    assert answer.usage is not None
    [row] = team.booked()
    assert (row["input_tokens"], row["output_tokens"]) == (answer.usage.input_tokens, answer.usage.output_tokens)
    assert (row["protocol"], row["cache_read_tokens"]) == ("openai_responses", 3)


def test_a_response_longer_than_what_is_kept_of_it_is_booked_exactly(system: System) -> None:
    team = system.new_team("sdk-responses-long", protocol="openai_responses", max_output_tokens=4096)
    team.behave(output_tokens="max")

    events = team.sdk().responses.create(
        model=team.model, input="Tell me everything.", max_output_tokens=4096, stream=True
    )
    assert [event.type for event in events][-1] == "response.incomplete"

    [row] = team.booked()
    assert row["output_tokens"] == 4096


def test_structured_outputs_tool_calls_and_raw_answers_of_responses_are_booked(system: System) -> None:
    team = system.new_team("sdk-responses-more", protocol="openai_responses")
    sdk = team.sdk()
    ask: dict[str, Any] = {"model": team.model, "max_output_tokens": 40}

    called = sdk.responses.parse(input="Note it.", tools=[TOOL], tool_choice="required", **ask)
    raw = sdk.responses.with_raw_response.create(
        input="As JSON.", text={"format": {"type": "json_schema", "name": "note", "schema": PARAMETERS}}, **ask
    )
    thought: Any = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAA"}
    continued = sdk.responses.create(input=[thought, {"role": "user", "content": "And then?"}], **ask)

    [call] = called.output
    assert call.type == "function_call"
    assert Note.model_validate(call.parsed_arguments or {"note": call.arguments}).note
    assert raw.headers["x-bursar-model"].endswith("/gpt-4o-mini")
    assert continued.output_text
    held = {row["request_id"]: row["input_bound_tokens"] for row in team.booked(3)}
    assert max(held.values()) == 128_000


def test_the_asynchronous_sdk_is_served_as_well(system: System) -> None:
    chat, responses = system.new_team("sdk-async"), system.new_team("sdk-async-r", protocol="openai_responses")

    async def ask() -> None:
        base_url = f"{system.gateway}/v1"
        async with AsyncOpenAI(base_url=base_url, api_key=chat.key, max_retries=0) as sdk:
            stream = await sdk.chat.completions.create(model=chat.model, messages=HELLO, max_tokens=20, stream=True)
            assert [chunk async for chunk in stream]
        async with AsyncOpenAI(base_url=base_url, api_key=responses.key, max_retries=0) as sdk:
            assert (await sdk.responses.create(model=responses.model, input="Hi", max_output_tokens=20)).output_text

    asyncio.run(ask())

    chat.booked()
    responses.booked()


def test_what_cannot_be_metered_of_responses_raises_the_sdks_own_errors(system: System) -> None:
    team = system.new_team("sdk-responses-refused", protocol="openai_responses")
    sdk = team.sdk()

    with pytest.raises(openai.BadRequestError, match="background") as caught:
        sdk.responses.create(model=team.model, input="Hi", background=True)
    with pytest.raises(openai.BadRequestError, match="cannot be metered"):
        sdk.responses.create(model=team.model, input="Hi", tools=[{"type": "web_search"}])
    with pytest.raises(openai.BadRequestError, match="another team's"):
        sdk.responses.create(model=team.model, input="And then?", previous_response_id="resp_1")
    with pytest.raises(openai.BadRequestError, match="stored prompt"):
        sdk.responses.create(model=team.model, prompt={"id": "pmpt_1"})
    with pytest.raises(openai.NotFoundError):
        sdk.responses.retrieve("resp_1")
    with pytest.raises(openai.NotFoundError, match="not served on this path"):
        sdk.chat.completions.create(model=team.model, messages=HELLO)

    assert caught.value.param == "background"
    assert team.books() == []


def test_embeddings_of_texts_and_of_tokens_are_booked_by_what_was_read(system: System) -> None:
    team = system.new_team("sdk-embeddings", **EMBEDDINGS)
    sdk = team.sdk()

    one = sdk.embeddings.create(model=team.model, input="Where is my parcel?")
    many = sdk.embeddings.create(model=team.model, input=["Where", "is", "it?"], encoding_format="float", dimensions=3)
    encoded = sdk.embeddings.create(model=team.model, input=[[9241, 374], [856, 35014, 30]])

    assert [len(answer.data) for answer in (one, many, encoded)] == [1, 3, 2]
    assert {len(one.data[0].embedding), len(many.data[0].embedding)} == {1536, 3}
    rows = team.booked(3)
    read_tokens = sorted(answer.usage.prompt_tokens for answer in (one, many, encoded))
    assert sorted(row["input_tokens"] for row in rows) == read_tokens
    assert {(row["output_tokens"], row["response_model"]) for row in rows} == {(0, "text-embedding-3-small")}


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_legacy_completions_are_booked_with_all_that_was_written(system: System, stream: bool) -> None:
    team = system.new_team("sdk-completions", **COMPLETIONS)
    sdk = team.sdk()

    if stream:
        chunks = list(sdk.completions.create(model=team.model, prompt="Once", n=2, max_tokens=9, stream=True))
        assert all(chunk.choices for chunk in chunks)
    else:
        answer = sdk.completions.create(model=team.model, prompt=["Once", "upon a time"], n=1, best_of=3)
        assert len(answer.choices) == 2

    [row] = team.booked()
    assert row["output_tokens"] == (2 * 9 if stream else 2 * 3 * 16)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_images_are_booked_by_their_tokens(system: System, stream: bool) -> None:
    team = system.new_team("sdk-images", max_output_tokens=6240, **IMAGES)
    sdk = team.sdk()

    if stream:
        events = sdk.images.generate(model=team.model, prompt="A parcel", quality="low", partial_images=2, stream=True)
        assert [event.type for event in events][-1] == "image_generation.completed"
    else:
        answer = sdk.images.generate(model=team.model, prompt="A parcel", quality="high", n=2)
        assert answer.data
        assert answer.data[1].b64_json

    [row] = team.booked()
    assert row["output_tokens"] == (272 + 200 if stream else 2 * 4160)


def test_pictures_are_booked_by_the_piece_and_only_those_that_have_a_price(system: System) -> None:
    team = system.new_team("sdk-pictures", max_output_tokens=1, **PICTURES)
    sdk = team.sdk()

    sdk.images.generate(model=team.model, prompt="A parcel", quality="hd", size="1024x1792")
    with pytest.raises(openai.PermissionDeniedError, match="price"):
        sdk.images.generate(model=team.model, prompt="A parcel")

    [row] = team.booked()
    assert row["amount_nusd"] == row["hold_nusd"] == 120_000_000


def test_speech_is_booked_by_the_character_or_by_the_tokens_of_its_stream(system: System) -> None:
    letters, sounds = system.new_team("sdk-tts", max_output_tokens=1, **TTS_1), system.new_team("sdk-tts-4o", **TTS)
    said = "Your parcel is on its way – à bientôt."

    sound = letters.sdk().audio.speech.create(model=letters.model, input=said, voice="alloy")
    with sounds.sdk().audio.speech.with_streaming_response.create(
        model=sounds.model, input=said, voice="alloy", stream_format="sse"
    ) as events:
        assert list(events.iter_lines())

    assert len(sound.content) == 30_000
    [by_letter], [by_token] = letters.booked(), sounds.booked()
    assert by_letter["amount_nusd"] == len(said) * 15_000
    assert by_token["output_tokens"] == len(said) // 2 + 1
