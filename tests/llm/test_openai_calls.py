"""Calls in OpenAI's other words through the whole core: held at the most they can cost, settled to the piece."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from kong_plugins.llm.errors import InsufficientQuota, InvalidRequest, ModelNotAllowed
from kong_plugins.llm.events import UsageEvent
from kong_plugins.llm.grants import Grant
from kong_plugins.llm.metering import settle
from kong_plugins.llm.prices import Price, Variant
from kong_plugins.llm.release import Budget, Model
from tests.llm.cast import deployment
from tests.llm.gateway import BUDGET, Gateway, answer, finished
from tests.llm.multipart import CONTENT_TYPE, form, part, sound
from tests.llm.protocols.captures import tapped
from tests.llm.protocols.sounds import SLOW_FRAME, silent_flac

BY_TOKEN = Price(
    version="2026-11",
    input_nusd=600_000_000,
    cache_read_nusd=600_000_000,
    cache_write_nusd=600_000_000,
    output_nusd=12_000_000_000,
)
BY_PIECE = Price(version="2026-11", input_nusd=0, cache_read_nusd=0, cache_write_nusd=0, output_nusd=0)
PATHS = {"openai_images": "/v1/images/generations", "openai_speech": "/v1/audio/speech"}
SPOKEN = {"model": "mini", "input": "Hello there", "voice": "alloy"}
DRAWN = {"model": "mini", "prompt": "A parcel"}


def by_piece(**rates: int) -> Price:
    """A price in nano-USD for each million pieces."""
    return msgspec.structs.replace(BY_PIECE, unit_nusd=rates)


def publish(
    gateway: Gateway,
    protocol: str,
    price: Price,
    *,
    max_output_tokens: int = 500,
    longest_audio_s: int | None = None,
    budget: Budget = BUDGET,
) -> None:
    serving = deployment(protocol=protocol, price=price, longest_audio_s=longest_audio_s)
    model = Model(
        name="mini",
        context_window_tokens=4096,
        max_output_tokens=max_output_tokens,
        default_output_tokens=1,
        deployments=(serving.id,),
    )
    gateway.publish(deployments=(serving,), models=(model,), budgets=(budget,))
    gateway.set_cap(10**12)


def admit(gateway: Gateway, protocol: str, body: dict[str, Any]) -> Grant:
    return gateway.admission.admit(
        gateway.caller(), json.dumps(body).encode(), protocol, asked_at=PATHS.get(protocol, "")
    )


TRANSCRIBED = form(part("model", "mini"), part("file", sound(20), filename="call.wav"), part("response_format", "json"))


def transcribed(sound_bytes: bytes) -> bytes:
    return form(part("model", "mini"), part("file", sound_bytes, filename="call"))


def admit_form(gateway: Gateway, data: bytes = TRANSCRIBED) -> Grant:
    caller = msgspec.structs.replace(gateway.caller(), content_type=CONTENT_TYPE)
    return gateway.admission.admit(caller, data, "openai_transcriptions", asked_at="/v1/audio/transcriptions")


def settled(gateway: Gateway, grant: Grant, data: bytes, *, complete: bool = True) -> UsageEvent:
    settle(gateway.store, finished(grant, answer=answer(data, complete=complete)))
    [booked] = gateway.events()
    return booked


def test_what_is_billed_by_the_character_is_held_and_booked_exactly(gateway: Gateway) -> None:
    publish(gateway, "openai_speech", by_piece(character=15_000_000_000))

    grant = admit(gateway, "openai_speech", SPOKEN)
    booked = settled(gateway, grant, b"\xff\xf3sound")

    assert grant.meter.hold_nusd == booked.amount_nusd == 11 * 15_000
    assert (booked.quality, booked.units, booked.input_tokens) == ("exact", {"character": 11}, 0)


def test_speech_that_breaks_off_costs_what_was_held(gateway: Gateway) -> None:
    publish(gateway, "openai_speech", by_piece(character=15_000_000_000))

    booked = settled(gateway, admit(gateway, "openai_speech", SPOKEN), b"\xff", complete=False)

    assert (booked.quality, booked.amount_nusd) == ("upper_bound", 11 * 15_000)


def test_speech_that_is_billed_by_tokens_and_tells_none_costs_what_was_held(gateway: Gateway) -> None:
    publish(gateway, "openai_speech", BY_TOKEN)

    grant = admit(gateway, "openai_speech", SPOKEN)
    booked = settled(gateway, grant, b"\xff\xf3sound")

    assert booked.amount_nusd == grant.meter.hold_nusd >= 500 * 12_000
    assert booked.quality == "upper_bound"


def test_nothing_bounds_the_tokens_of_a_picture_so_a_part_of_its_price_is_no_use(gateway: Gateway) -> None:
    publish(gateway, "openai_images", BY_TOKEN)
    whole = admit(gateway, "openai_images", DRAWN).meter
    assert (whole.terms.max_tokens, whole.terms.choices) == (500, 1)

    gateway.set_cap(2 * whole.hold_nusd - 1, version=2)

    with pytest.raises(InsufficientQuota):
        admit(gateway, "openai_images", DRAWN)


def test_a_picture_of_which_the_price_is_not_known_is_refused_under_a_budget(gateway: Gateway) -> None:
    publish(gateway, "openai_images", by_piece(**{"image:standard:1024x1024": 40_000_000_000_000}))

    with pytest.raises(ModelNotAllowed, match="no price for 'image:standard:1792x1024'"):
        admit(gateway, "openai_images", DRAWN | {"size": "1792x1024"})

    booked = settled(gateway, admit(gateway, "openai_images", DRAWN | {"n": 2}), b'{"data":[{"url":"u"}]}')
    assert (booked.amount_nusd, booked.units) == (80_000_000, {"image:standard:1024x1024": 2})


def test_a_picture_that_is_billed_by_the_piece_costs_that_where_its_answer_counts_tokens_too(gateway: Gateway) -> None:
    publish(gateway, "openai_images", by_piece(image=40_000_000_000_000))

    booked = settled(
        gateway,
        admit(gateway, "openai_images", DRAWN | {"n": 2}),
        b'{"data":[{"url":"u"}],"usage":{"input_tokens":9,"output_tokens":100}}',
    )

    assert (booked.amount_nusd, booked.quality) == (80_000_000, "exact")
    assert (booked.output_image_tokens, booked.units) == (100, {"image:standard:1024x1024": 2})


def test_many_inputs_are_held_at_the_context_of_each(gateway: Gateway) -> None:
    publish(gateway, "openai_embeddings", BY_TOKEN)

    grant = admit(gateway, "openai_embeddings", {"model": "mini", "input": ["word " * 3000] * 3})

    assert grant.meter.terms.input_bound_tokens == 3 * 4096
    assert grant.meter.hold_nusd == 3 * 4096 * 600
    assert grant.response_headers["x-bursar-max-tokens"] == "0"


@pytest.mark.parametrize(
    ("rates", "asked", "is_known"),
    [
        ({}, "image:high:1024x1024", True),
        ({"request": 5}, "image:high:1024x1024", True),
        ({"image": 5}, "image:high:1024x1024", True),
        ({"image:high": 5}, "image:high:1024x1024", True),
        ({"image:high:1024x1024": 5}, "image:high", True),
        ({"image:hi": 5}, "image:high", False),
        ({"image:low": 5}, "image:high:1024x1024", False),
    ],
)
def test_a_price_that_names_other_pieces_of_a_kind_does_not_know_this_one(
    rates: dict[str, int], asked: str, is_known: bool
) -> None:
    assert by_piece(**rates).unknown_pieces([asked]) == (() if is_known else (asked,))


@pytest.mark.parametrize(
    ("protocol", "asked", "param"),
    [
        ("openai_responses", {"input": "And then?", "previous_response_id": "resp_1"}, "previous_response_id"),
        (
            "openai_chat",
            {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file_1"}}]}]},
            "messages[0].content",
        ),
    ],
)
def test_what_lies_in_the_account_of_many_teams_is_read_by_none_and_bounded_where_it_is(
    gateway: Gateway, protocol: str, asked: dict[str, Any], param: str
) -> None:
    publish(gateway, protocol, BY_TOKEN)
    data = json.dumps({"model": "mini", **asked}).encode()

    with pytest.raises(InvalidRequest, match="another team's") as caught:
        gateway.admission.admit(gateway.caller(), data, protocol)
    assert caught.value.param == param

    owner = msgspec.structs.replace(gateway.caller(), may_name_stored=True)
    assert gateway.admission.admit(owner, data, protocol).meter.terms.input_bound_tokens == 4096


def test_a_sound_that_is_billed_by_the_second_is_held_at_its_bytes_and_booked_as_told(gateway: Gateway) -> None:
    publish(gateway, "openai_transcriptions", by_piece(second=100_000_000_000))

    grant = admit_form(gateway)
    booked = settled(gateway, grant, b'{"text":"Hello","usage":{"type":"duration","seconds":20}}')

    assert grant.meter.hold_nusd == 21 * 100_000
    assert (booked.amount_nusd, booked.quality, booked.units) == (20 * 100_000, "exact", {"second": 20})


def test_a_day_of_silence_in_two_hundred_kilobytes_is_never_let_past_a_hard_cap_that_does_not_hold_it(
    gateway: Gateway,
) -> None:
    by_second, day, data = by_piece(second=100_000_000_000), 86_400, transcribed(silent_flac(86_400))
    told = b'{"text":"","usage":{"type":"duration","seconds":%d}}' % day

    publish(gateway, "openai_transcriptions", by_second)
    with pytest.raises(InvalidRequest, match=r"WAV file of plain samples \(PCM\).* or as MP3") as caught:
        admit_form(gateway, data)
    assert caught.value.param == "file"

    publish(gateway, "openai_transcriptions", by_second, longest_audio_s=day)
    held = admit_form(gateway, data).meter
    assert (held.hold_nusd, held.terms.units) == (day * 100_000, {"second": day})

    # No budget that refuses, and so no hold that has to be kept to: it costs what it costs.
    publish(gateway, "openai_transcriptions", by_second, budget=msgspec.structs.replace(BUDGET, hard=False))
    soft = admit_form(gateway, data)
    assert soft.meter.hold_nusd < day * 100_000
    assert settled(gateway, soft, told).amount_nusd == day * 100_000


def test_a_sound_holds_no_more_than_the_provider_takes_of_one(gateway: Gateway) -> None:
    publish(gateway, "openai_transcriptions", by_piece(second=100_000_000_000), longest_audio_s=15)

    assert admit_form(gateway).meter.terms.units == {"second": 15}
    assert admit_form(gateway, transcribed(SLOW_FRAME * 450)).meter.terms.units == {"second": 12}


def test_where_only_tokens_have_a_price_the_length_of_a_sound_is_of_no_account(gateway: Gateway) -> None:
    publish(gateway, "openai_transcriptions", BY_TOKEN)

    assert admit_form(gateway, transcribed(silent_flac(86_400))).meter.terms.input_bound_tokens == 4096


def test_a_price_by_the_second_that_only_one_tier_has_counts_too() -> None:
    tier = Variant(
        service_tier="priority",
        input_nusd=0,
        cache_read_nusd=0,
        cache_write_nusd=0,
        output_nusd=0,
        unit_nusd={"second": 1},
    )

    assert msgspec.structs.replace(BY_PIECE, variants=(tier,)).charges_for(["second"]) is True
    assert BY_PIECE.charges_for(["second"]) is by_piece(second=1).charges_for([]) is False


def test_subtitles_tell_nothing_and_cost_what_was_held(gateway: Gateway) -> None:
    publish(gateway, "openai_transcriptions", by_piece(second=100_000_000_000))
    grant = admit_form(gateway)

    said = tapped(b'{"usage":{"type":"duration","seconds":1}}', content_type="text/plain")
    settle(gateway.store, finished(grant, answer=said))

    [booked] = gateway.events()
    assert (booked.amount_nusd, booked.quality) == (21 * 100_000, "upper_bound")


def test_seconds_say_nothing_where_only_tokens_have_a_price(gateway: Gateway) -> None:
    publish(gateway, "openai_transcriptions", BY_TOKEN)
    grant = admit_form(gateway)

    booked = settled(gateway, grant, b'{"text":"Hello","usage":{"type":"duration","seconds":20}}')

    assert (booked.amount_nusd, booked.quality) == (grant.meter.hold_nusd, "upper_bound")
    # The model's whole context, and its greatest output.
    assert grant.meter.hold_nusd == 4096 * 600 + 500 * 12_000


def test_tokens_of_a_sound_have_their_own_price(gateway: Gateway) -> None:
    publish(gateway, "openai_transcriptions", msgspec.structs.replace(BY_TOKEN, input_audio_nusd=6_000_000_000))
    told = {"type": "tokens", "input_tokens": 210, "input_token_details": {"audio_tokens": 200}, "output_tokens": 5}

    booked = settled(gateway, admit_form(gateway), json.dumps({"text": "Hello", "usage": told}).encode())

    assert (booked.amount_nusd, booked.quality) == (200 * 6_000 + 10 * 600 + 5 * 12_000, "exact")
    assert (booked.input_tokens, booked.input_audio_tokens, booked.output_tokens) == (210, 200, 5)


def test_a_sound_that_costs_nothing_is_exactly_known(gateway: Gateway) -> None:
    publish(gateway, "openai_transcriptions", BY_PIECE)

    booked = settled(gateway, admit_form(gateway), b'{"text":"Hello","usage":{"type":"duration","seconds":20}}')

    assert (booked.amount_nusd, booked.quality, booked.units) == (0, "exact", {"second": 20})


def test_the_provider_finds_its_own_name_of_the_model_in_the_same_form(gateway: Gateway) -> None:
    publish(gateway, "openai_transcriptions", by_piece(second=100_000_000_000))

    [(offset, length, replacement)] = admit_form(gateway).splices

    assert (TRANSCRIBED[offset : offset + length], replacement) == (b"mini", "gpt-4o-mini")
