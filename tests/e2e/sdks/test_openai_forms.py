"""Sounds and pictures that the unmodified OpenAI SDK sends as forms, checked against the provider's own books."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI

from tests.e2e.sdks.test_openai import priced
from tests.e2e.system import System, Team, eventually
from tests.llm.multipart import sound

WHISPER = priced("openai_transcriptions", "whisper-1", "0", "0", second="0.0001")
TRANSCRIBE = priced("openai_transcriptions", "gpt-4o-transcribe", "2.50", "10.00")
TRANSCRIBE["price"]["input_audio_usd_per_mtok"] = "6.00"
EDITED = priced("openai_images", "gpt-image-1.5", "5.00", "32.00")
EDITED["price"]["input_image_usd_per_mtok"] = "8.00"
VARIED = priced("openai_images", "dall-e-2", "0", "0", **{"image:standard:256x256": "0.016"})
CALL = ("call.wav", sound(12), "audio/wav")
PICTURE = ("parcel.png", b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "image/png")


def test_seconds_are_booked_as_the_provider_counts_them(system: System) -> None:
    team = system.new_team("sdk-whisper", max_output_tokens=448, **WHISPER)
    sdk = team.sdk()

    whole = sdk.audio.transcriptions.create(model=team.model, file=CALL, language="en", temperature=0.2)
    verbose = sdk.audio.transcriptions.create(
        model=team.model, file=CALL, response_format="verbose_json", timestamp_granularities=["word", "segment"]
    )
    with pytest.warns(DeprecationWarning, match="deprecated"):
        translated = sdk.audio.translations.create(model=team.model, file=CALL, prompt="ZyntriQix")

    assert whole.text
    assert verbose.duration == 12
    assert translated.text
    rows = team.booked(3)
    assert {row["amount_nusd"] for row in rows} == {12 * 100_000}
    assert {row["hold_nusd"] for row in rows} == {13 * 100_000}


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_tokens_of_a_sound_are_booked_to_the_nano_dollar(system: System, stream: bool) -> None:
    team = system.new_team("sdk-transcribe", max_output_tokens=2000, **TRANSCRIBE)
    team.behave(output_tokens=600)
    asked: dict[str, Any] = {"model": team.model, "file": CALL, "prompt": "A parcel", "include": ["logprobs"]}

    if stream:
        events = list(team.sdk().audio.transcriptions.create(**asked, stream=True))
        assert (len(events), events[-1].type) == (601, "transcript.text.done")
    else:
        assert team.sdk().audio.transcriptions.create(**asked).text

    [row] = team.booked()
    assert (row["input_audio_tokens"], row["output_tokens"]) == (120, 600)


def test_an_asynchronous_client_transcribes_too(system: System) -> None:
    team = system.new_team("sdk-transcribe-async", max_output_tokens=2000, **TRANSCRIBE)

    async def transcribe() -> str:
        async with AsyncOpenAI(base_url=f"{system.gateway}/v1", api_key=team.key, max_retries=0) as sdk:
            answers = [sdk.audio.transcriptions.create(model=team.model, file=CALL) for _ in range(2)]
            return "".join(answer.text for answer in await asyncio.gather(*answers))

    assert asyncio.run(transcribe())
    team.booked(2)


def test_subtitles_are_charged_what_was_held(system: System) -> None:
    team = system.new_team("sdk-subtitles", max_output_tokens=448, **WHISPER)

    assert "-->" in team.sdk().audio.transcriptions.create(model=team.model, file=CALL, response_format="srt")

    [row] = eventually(team.spent_in_ledger, within_s=10, what="the call in the ledger")
    assert (row["quality"], row["amount_nusd"]) == ("upper_bound", row["hold_nusd"])
    assert row["amount_nusd"] >= team.books()[0]["amount_nusd"] > 0


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_an_edit_is_booked_with_the_pictures_that_were_sent(system: System, stream: bool) -> None:
    team = system.new_team("sdk-edits", max_output_tokens=6240, **EDITED)
    sdk = team.sdk()

    if stream:
        events = sdk.images.edit(
            model=team.model, image=PICTURE, prompt="A parcel", quality="low", partial_images=1, stream=True
        )
        assert [event.type for event in events][-1] == "image_edit.completed"
    else:
        answer = sdk.images.edit(
            model=team.model, image=[PICTURE, PICTURE], mask=PICTURE, prompt="A parcel", quality="high", n=2
        )
        assert answer.data
        assert answer.data[1].b64_json

    [row] = team.booked()
    assert row["input_image_tokens"] == (194 if stream else 2 * 194)


def test_variations_are_booked_by_the_piece(system: System) -> None:
    team = system.new_team("sdk-variations", max_output_tokens=1, **VARIED)

    with pytest.warns(DeprecationWarning, match="deprecated"):
        team.sdk().images.create_variation(model=team.model, image=PICTURE, n=2, size="256x256")

    [row] = team.booked()
    assert row["amount_nusd"] == row["hold_nusd"] == 32_000_000


def posted(team: Team, data: bytes, boundary: str = "b") -> httpx.Response:
    kind = f"multipart/form-data; boundary={boundary}"
    headers = {"authorization": f"Bearer {team.key}", "content-type": kind}
    return team.system.client.post(f"{team.system.gateway}/v1/audio/transcriptions", content=data, headers=headers)


def test_a_form_that_is_not_clear_reaches_nobody(system: System) -> None:
    team = system.new_team("sdk-unclear", max_output_tokens=448, **WHISPER)
    field = f'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\n{team.model}\r\n'.encode()

    twice, cut = posted(team, field * 2 + b"--b--\r\n"), posted(team, field)
    with pytest.raises(openai.BadRequestError, match="chunking_strategy"):
        team.sdk().audio.transcriptions.create(model=team.model, file=CALL, chunking_strategy="auto")

    assert [(answer.status_code, answer.json()["error"]["code"]) for answer in (twice, cut)] == [
        (400, "invalid_request")
    ] * 2
    assert "model occurs twice" in twice.json()["error"]["message"]
    assert team.books() == []


def test_the_file_reaches_the_provider_as_it_is(system: System) -> None:
    """What the provider could not read, it would count otherwise: nothing but the model's name may have changed."""
    team = system.new_team("sdk-long-file", max_output_tokens=448, **WHISPER)

    team.sdk().audio.transcriptions.create(model=team.model, file=("long.wav", sound(200, sample_rate=16_000)))

    [row] = team.booked()
    assert row["amount_nusd"] == 200 * 100_000
