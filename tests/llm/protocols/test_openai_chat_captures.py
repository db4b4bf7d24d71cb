"""The chats of all who speak as OpenAI does, with what each does otherwise, and cut at every byte."""

from __future__ import annotations

import pytest

from kong_plugins.llm.protocols import wire_format
from kong_plugins.llm.protocols.answers import SLACK_TOKENS
from kong_plugins.llm.usage import Usage
from tests.llm.protocols.captures import capture, cuts_of, names_in, tapped_capture

PROTOCOL = "openai_chat"
CHAT = wire_format(PROTOCOL)
DONE = b"data: [DONE]\n\n"
OPENAI = Usage(input_tokens=19, cache_read_tokens=4, cache_write_tokens=2, output_tokens=10, reasoning_tokens=3)

EXPECTED = {
    "openai.json": OPENAI,
    "openai-audio.json": Usage(input_tokens=60, input_audio_tokens=44, output_tokens=120, output_audio_tokens=96),
    "openai-image.json": Usage(input_tokens=800, input_image_tokens=765, output_tokens=4),
    "openai-flex.json": Usage(input_tokens=12, output_tokens=3),
    "openai-priority.json": Usage(input_tokens=12, output_tokens=2),
    "azure.json": Usage(input_tokens=25, output_tokens=5001),
    "mistral-usage-first.json": Usage(input_tokens=16, output_tokens=5034),
    "vllm-after-usage.json": Usage(input_tokens=45, output_tokens=5010),
    # What it thought is in the total alone.
    "gemini-thoughts.json": Usage(input_tokens=11, output_tokens=476),
    "deepseek.json": Usage(input_tokens=1216, cache_read_tokens=1152, output_tokens=10),
    "deepseek-reasoner.json": Usage(input_tokens=20, cache_read_tokens=15, output_tokens=190, reasoning_tokens=170),
    "groq.json": Usage(input_tokens=18, output_tokens=556),
    "xai-reasoning.json": Usage(input_tokens=32, cache_read_tokens=6, output_tokens=103, reasoning_tokens=94),
    "openrouter.json": Usage(input_tokens=194, cache_write_tokens=100, output_tokens=2),
    "together.json": Usage(input_tokens=39, output_tokens=7),
    "hostile.json": Usage(input_tokens=33, output_tokens=80),
    "hostile-long.json": Usage(input_tokens=33, output_tokens=5080),
    "two-usages.json": Usage(input_tokens=30, output_tokens=40),
    "openai.sse": OPENAI,
    "openai-priority.sse": Usage(input_tokens=12, output_tokens=1),
    "azure.sse": Usage(input_tokens=20, output_tokens=8),
    "mistral.sse": Usage(input_tokens=7, output_tokens=21),
    "groq.sse": Usage(input_tokens=18, output_tokens=2),
    "gemini.sse": Usage(input_tokens=11, output_tokens=476),
    "deepseek.sse": Usage(input_tokens=17, output_tokens=9),
    "xai.sse": Usage(input_tokens=32, output_tokens=103, reasoning_tokens=94),
    "openrouter.sse": Usage(input_tokens=194, output_tokens=2),
    "together.sse": Usage(input_tokens=39, output_tokens=7),
    "vllm.sse": Usage(input_tokens=45, output_tokens=2),
    "hostile.sse": Usage(input_tokens=40, output_tokens=90),
    "long.sse": Usage(input_tokens=40, output_tokens=660),
}
TIERS = {
    **dict.fromkeys(["openai.json", "openai-audio.json", "openai-image.json", "openai.sse"], "standard"),
    **dict.fromkeys(["hostile.json", "hostile-long.json", "two-usages.json", "groq.json", "groq.sse"], "standard"),
    "openai-flex.json": "flex",
    "openai-priority.json": "priority",
    "openai-priority.sse": "priority",
}
STREAMS = sorted(name for name in EXPECTED if name.endswith(".sse"))
# Their usage stands in the last chunk that has choices, or in every chunk: final only once the stream is over.
TOLD_WITH_CHOICES = {"mistral.sse", "gemini.sse", "deepseek.sse", "openrouter.sse", "together.sse"}


@pytest.mark.parametrize("name", EXPECTED)
def test_every_capture_is_read_exactly(name: str) -> None:
    found = CHAT.read_answer(tapped_capture(PROTOCOL, name))

    assert found.usage == EXPECTED[name]
    assert found.response_model
    assert found.service_tier == TIERS.get(name)


def test_every_capture_has_its_expectation() -> None:
    assert names_in(PROTOCOL) == EXPECTED.keys()


@pytest.mark.parametrize("name", sorted(EXPECTED.keys() - set(STREAMS)))
def test_a_completion_cut_anywhere_is_unknown(name: str) -> None:
    for end in cuts_of(capture(PROTOCOL, name)):
        assert CHAT.read_answer(tapped_capture(PROTOCOL, name, end=end)).usage is None


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_cut_anywhere_is_exact_or_declared_less(name: str) -> None:
    body = capture(PROTOCOL, name)
    told_at = len(body) - (0 if name in TOLD_WITH_CHOICES else len(DONE))

    for end in [*cuts_of(body), told_at]:
        found = CHAT.read_answer(tapped_capture(PROTOCOL, name, end=end))
        assert found.usage == (EXPECTED[name] if end >= told_at else None)
        assert found.usage is not None or (found.sent_bound_tokens or 0) >= SLACK_TOKENS
