"""What Ollama's answers say of their usage, in real shapes, whole and line by line, and cut at every byte."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kong_plugins.llm.protocols import wire_format
from kong_plugins.llm.protocols.answers import SLACK_TOKENS, Reading
from kong_plugins.llm.usage import Usage
from tests.llm.protocols.captures import CORPUS, capture, tapped

EXPECTED = {
    "chat.json": Usage(input_tokens=26, output_tokens=298),
    "generate.json": Usage(input_tokens=26, output_tokens=290),
    "long-context.json": Usage(input_tokens=2900, output_tokens=100),
    "hostile.json": Usage(input_tokens=70, output_tokens=9000),
    "chat.ndjson": Usage(input_tokens=26, output_tokens=4),
    "generate.ndjson": Usage(input_tokens=26, output_tokens=3),
    "thinking.ndjson": Usage(input_tokens=31, output_tokens=812),
    "hostile.ndjson": Usage(input_tokens=33, output_tokens=120),
    "long.ndjson": Usage(input_tokens=38, output_tokens=750),
    "long-context.ndjson": Usage(input_tokens=3000, output_tokens=3),
}


def reading(body: bytes, *, complete: bool = True, encoding: str = "") -> Reading:
    kind = "application/x-ndjson" if b"\n" in body else "application/json; charset=utf-8"
    answer = tapped(body, content_type=kind, complete=complete, encoding=encoding)
    return wire_format("ollama_chat").read_answer(answer)


def captured(name: str) -> bytes:
    return capture("ollama_chat", name)


def line(**members: Any) -> bytes:
    return json.dumps(members).encode() + b"\n"


def said(text: str, **more: Any) -> bytes:
    return line(model="llama3.2", message={"role": "assistant", "content": text, **more}, done=False)


@pytest.mark.parametrize("name", EXPECTED)
def test_every_capture_is_read_exactly(name: str) -> None:
    read = reading(captured(name))

    assert read.usage == EXPECTED[name]
    assert read.response_model == "llama3.2"


def test_every_capture_has_its_expectation() -> None:
    others = {"cached-prompt.json", "error-mid-stream.ndjson"}

    assert {path.name for path in (CORPUS / "ollama_chat").iterdir()} == EXPECTED.keys() | others


@pytest.mark.parametrize("name", EXPECTED)
def test_an_answer_cut_anywhere_is_exact_or_unknown(name: str) -> None:
    body = captured(name)
    over_at = len(body.rstrip())

    for end in range(0, over_at, 1 if len(body) < 5000 else 199):
        assert reading(body[:end], complete=False).usage is None
    for end in range(max(0, over_at - 300), over_at):
        assert reading(body[:end], complete=False).usage is None
    if not name.startswith("long-context"):
        assert reading(body[:over_at], complete=len(body) > 20_000).usage == EXPECTED[name]


def test_a_prompt_that_came_from_a_cache_leaves_the_output_known() -> None:
    assert reading(captured("cached-prompt.json")) == Reading(sent_bound_tokens=2, response_model="llama3.2")


def test_a_stream_that_breaks_off_is_bounded_by_the_bytes_of_its_text() -> None:
    error = reading(captured("error-mid-stream.ndjson"))
    assert error.usage is None
    assert (error.sent_bound_tokens or 0) == len("Half an") + SLACK_TOKENS

    long = captured("long.ndjson")
    bound = reading(long[: len(long) - 400], complete=False).sent_bound_tokens
    assert bound is not None
    assert bound >= sum(len(f" word {number}") for number in range(240))


def test_what_a_client_sees_only_part_of_is_not_bounded_by_it() -> None:
    assert reading(said("", thinking="Hm"), complete=False).sent_bound_tokens is None
    assert reading(line(response="", thinking="Hm"), complete=False).sent_bound_tokens is None
    called = said("", tool_calls=[{"function": {"name": "f", "arguments": {}}}])
    assert reading(called, complete=False).sent_bound_tokens == len(called) + SLACK_TOKENS
    cut = b'{"message":{"content":"ab'
    assert reading(said("abc") + cut, complete=False).sent_bound_tokens == 3 + len(cut) + 1 + SLACK_TOKENS


@pytest.mark.parametrize("count", [None, -1, 1.5, "5", 10**30])
def test_counts_that_make_no_sense_are_none(count: object) -> None:
    assert reading(line(done=True, prompt_eval_count=5, eval_count=count)).usage is None


def test_what_is_no_answer_or_compressed_says_nothing() -> None:
    assert reading(captured("chat.json"), encoding="gzip") == Reading()
    assert reading(b"") == Reading(sent_bound_tokens=SLACK_TOKENS)
