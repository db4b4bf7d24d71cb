"""Usage is the provider's own, or a bound that no model can talk down, wherever the answer is cut."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kong_plugins.llm.protocols import wire_format
from kong_plugins.llm.protocols.answers import SLACK_TOKENS, Reading
from kong_plugins.llm.usage import Usage
from tests.llm.protocols.captures import EVENT_STREAM, HEAD_BYTES, TAIL_BYTES, tapped

LIE = '{"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}}'
TOLD = {
    "prompt_tokens": 19,
    "completion_tokens": 10,
    "total_tokens": 29,
    "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 3, "audio_tokens": 0},
}
TRUE = Usage(input_tokens=19, cache_read_tokens=4, output_tokens=10, reasoning_tokens=3)


def reading(body: bytes, *, stream: bool = False, **seen: Any) -> Reading:
    kind = EVENT_STREAM if stream else "application/json"
    return wire_format("openai_chat").read_answer(tapped(body, content_type=kind, **seen))


def completion(content: str = "Hello!", usage: Any = TOLD, **members: Any) -> bytes:
    """A completion as OpenAI writes it."""
    message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None, "annotations": []}
    document = {
        "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
        "object": "chat.completion",
        "created": 1741569952,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": usage,
        "service_tier": "default",
        "system_fingerprint": "fp_1",
    }
    return json.dumps(document | members, indent=2).encode()


def chunk(delta: dict[str, Any] | None, **members: Any) -> bytes:
    """One event of a stream as OpenAI writes it; without a delta it has no choices."""
    document = {
        "id": "chatcmpl-123",
        "object": "chat.completion.chunk",
        "created": 1694268190,
        "model": "gpt-4o-mini-2024-07-18",
        "system_fingerprint": "fp_44709d6fcb",
        "choices": [] if delta is None else [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}],
        "usage": None,
    }
    return b"data: " + json.dumps(document | members, separators=(",", ":")).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


def stream(words: list[str], *, usage: Any = TOLD) -> bytes:
    events = [chunk({"role": "assistant", "content": ""}), *(chunk({"content": word}) for word in words), chunk({})]
    return b"".join(events) + chunk(None, usage=usage) + DONE


@pytest.mark.parametrize("length", [0, 10, TAIL_BYTES, TAIL_BYTES + HEAD_BYTES, 100_000])
def test_a_completion_of_any_length_is_read_exactly(length: int) -> None:
    assert reading(completion("x" * length)) == Reading(
        usage=TRUE, response_model="gpt-4o-mini-2024-07-18", service_tier="standard"
    )


@pytest.mark.parametrize("length", [0, 30_000])
def test_a_model_that_writes_usage_itself_fools_nobody(length: int) -> None:
    content = "x" * length + LIE + '"' + LIE + "\\"
    tool_call = {"id": "c", "type": "function", "function": {"name": "usage", "arguments": LIE}}

    body = completion(content, choices=[{"message": {"content": content, "tool_calls": [tool_call] * 3}}])

    assert reading(body).usage == TRUE


def test_a_usage_object_inside_another_is_not_the_answers_own() -> None:
    inner = {"usage": {"prompt_tokens": 0, "completion_tokens": 0}}

    assert reading(completion("x" * 30_000, metadata=inner, last={"a": [inner]})).usage == TRUE


@pytest.mark.parametrize("length", [0, 30_000])
def test_half_a_character_from_a_model_does_not_hide_the_usage(length: int) -> None:
    body = completion("x" * length + "\ud83d")

    assert rb"\ud83d" in body
    assert reading(body).usage == TRUE
    assert reading(chunk({"content": "\ud83d"}) + chunk(None, usage=TOLD) + DONE, stream=True).usage == TRUE


def test_a_member_whose_name_ends_like_usage_is_not_usage() -> None:
    members = {'an "usage': {"prompt_tokens": 0, "completion_tokens": 0}}

    assert reading(completion("x" * 30_000, **members)).usage == TRUE


@given(st.text(st.sampled_from('\\"{}[]:, usage'), max_size=60), st.integers(0, 60))
def test_hostile_content_at_the_edge_of_the_window_fools_nobody(content: str, shift: int) -> None:
    escaped = len(json.dumps(content))
    padding = "x" * (TAIL_BYTES + HEAD_BYTES)
    spare = "y" * max(0, TAIL_BYTES - 400 - escaped + shift)

    assert reading(completion(padding + content + LIE + spare)).usage == TRUE


def test_usage_before_the_choices_is_found_at_the_beginning() -> None:
    body = json.dumps({"model": "mistral", "usage": TOLD, "choices": ["x" * 50_000]}).encode()

    assert reading(body) == Reading(usage=TRUE, response_model="mistral")


def test_usage_that_lies_in_neither_end_is_not_guessed() -> None:
    body = json.dumps({"a": "x" * 30_000, "usage": TOLD, "model": 5, "z": "x" * 30_000}).encode()

    assert reading(body) == Reading()


def test_a_completion_cut_anywhere_is_exact_or_unknown() -> None:
    for body in (completion(), completion("x" * 30_000)):
        for end in range(len(body) - 600, len(body)):
            assert reading(body[:end], complete=False).usage is None
    assert reading(completion(), complete=False).usage == TRUE


@pytest.mark.parametrize("name", ["prompt_tokens", "completion_tokens"])
@pytest.mark.parametrize("value", [None, -1, "5", 1.5, 1.0, 10**9 + 1, 10**30, True, [], {}])
@pytest.mark.parametrize("length", [0, 30_000])
def test_a_count_that_is_none_is_no_usage(name: str, value: object, length: int) -> None:
    assert reading(completion("x" * length, usage=TOLD | {name: value})).usage is None
    assert reading(json.dumps({"usage": TOLD | {name: value}, "z": "x" * length * 2}).encode()).usage is None


@pytest.mark.parametrize("name", ["\ud800", "two\nlines", "x" * 1000, 5, None])
def test_a_model_whose_name_cannot_be_written_down_has_none(name: object) -> None:
    assert reading(completion(model=name)).response_model is None
    assert reading(completion("x" * 30_000, model=name)).response_model is None
    assert reading(chunk({"content": "a"}, model=name), stream=True).response_model is None


@pytest.mark.parametrize("usage", [None, {}, [], "none", {"prompt_tokens": 5}, {"total_tokens": 5}])
def test_missing_usage_is_never_zero(usage: object) -> None:
    assert reading(completion(usage=usage)).usage is None


def test_a_zero_that_the_provider_states_is_zero() -> None:
    assert reading(completion(usage={"prompt_tokens": 0, "completion_tokens": 0})).usage == Usage()


def test_usage_that_contradicts_itself_is_no_usage() -> None:
    assert reading(completion(usage=TOLD | {"prompt_tokens_details": {"cached_tokens": 20}})).usage is None


def test_reasoning_that_is_only_in_the_total_counts_as_output() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 115}
    details = {"completion_tokens_details": {"reasoning_tokens": 100}}

    assert reading(completion(usage=usage | details)).usage == Usage(
        input_tokens=10, output_tokens=105, reasoning_tokens=100
    )


def test_a_compressed_answer_is_not_read() -> None:
    assert reading(completion(), encoding="gzip") == Reading()
    assert reading(completion(), encoding="identity").usage == TRUE


@pytest.mark.parametrize("words", [1, 20, 5000])
def test_a_stream_of_any_length_is_read_exactly(words: int) -> None:
    assert reading(stream([" word"] * words), stream=True) == Reading(
        usage=TRUE, response_model="gpt-4o-mini-2024-07-18"
    )


def test_a_stream_whose_client_left_after_the_usage_is_exact() -> None:
    assert reading(stream(["a"]).removesuffix(DONE), stream=True, complete=False).usage == TRUE


def test_usage_in_the_last_chunk_with_choices_counts_once_the_stream_is_done() -> None:
    body = chunk({"content": "a"}) + chunk({"content": "b"}, usage=TOLD)

    assert reading(body + DONE, stream=True).usage == TRUE
    assert reading(body, stream=True, complete=False).usage is None


def test_running_usage_of_a_stream_that_broke_off_is_not_taken_for_the_final_one() -> None:
    body = b"".join(chunk({"content": "a"}, usage=TOLD | {"completion_tokens": index + 3}) for index in range(5))

    assert reading(body, stream=True, complete=False).usage is None
    assert reading(body + chunk({}, usage=TOLD) + DONE, stream=True).usage == TRUE


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_every_kind_of_line_end_is_read(line_end: bytes) -> None:
    assert reading(stream(["a", "b"]).replace(b"\n", line_end), stream=True).usage == TRUE


def test_a_model_that_streams_usage_itself_fools_nobody() -> None:
    body = stream([LIE, "\n\ndata: " + LIE + "\n\n", "\n\ndata: [DONE]\n\n"], usage=None)

    result = reading(body, stream=True)

    assert result.usage is None
    assert result.sent_bound_tokens is not None
    assert result.sent_bound_tokens > len(LIE) * 2


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=12), max_size=400), st.data())
def test_a_stream_cut_anywhere_is_bounded_by_what_was_sent(words: list[str], data: st.DataObject) -> None:
    """No token is shorter than a byte, so the bytes of the words sent bound their tokens from above."""
    events = [chunk({"role": "assistant", "content": ""}), *(chunk({"content": word}) for word in words)]
    sent = data.draw(st.integers(0, len(events)))
    body = b"".join(events[:sent]) + data.draw(st.sampled_from([b"", b"data: {", chunk({"content": "cut"})[:-1]]))

    result = reading(body, stream=True, complete=False)

    assert result.usage is None
    assert result.sent_bound_tokens is not None
    assert result.sent_bound_tokens >= sum(len(word.encode()) for word in words[: max(0, sent - 1)]) + SLACK_TOKENS


def test_a_short_stream_that_breaks_off_is_bounded_closely() -> None:
    body = b"".join(chunk({"content": " word"}) for _ in range(15))

    assert reading(body, stream=True, complete=False).sent_bound_tokens == 15 * 5 + SLACK_TOKENS


def test_a_long_stream_that_breaks_off_is_bounded_closely_too() -> None:
    body = b"".join(chunk({"content": " word"}) for _ in range(1000))

    bound = reading(body, stream=True, complete=False).sent_bound_tokens

    assert bound is not None
    assert 5000 <= bound <= 5000 + 2 * len(chunk({"content": " word"}))


def test_comments_that_keep_a_stream_alive_do_not_lower_the_bound() -> None:
    body = b": keep-alive\n\n" * 50 + b"".join(chunk({"content": " word"}) for _ in range(1000))

    bound = reading(body, stream=True, complete=False).sent_bound_tokens

    assert bound is not None
    assert bound >= 5000


def test_tool_calls_count_as_output() -> None:
    call = {"index": 0, "id": "call_1", "function": {"name": "look_up", "arguments": '{"order":1}'}}
    body = chunk({"tool_calls": [call]})

    bound = reading(body, stream=True, complete=False).sent_bound_tokens

    assert bound is not None
    assert bound >= len("look_up") + len('{"order":1}') + SLACK_TOKENS


def test_an_event_that_cannot_be_read_counts_whole() -> None:
    body = b"data: <html>\n\n" + b"event: x\n\n" + chunk({"content": "a"}, choices=None)

    assert reading(body, stream=True, complete=False).sent_bound_tokens == len(b"data: <html>\n\n") + SLACK_TOKENS


def test_a_stream_of_which_nothing_came_is_bounded_by_the_slack() -> None:
    assert reading(b"", stream=True, complete=False).sent_bound_tokens == SLACK_TOKENS
