"""Bounds of a prompt hold under every tokenizer, are tight where the tokenizer is known, and cost little."""

from __future__ import annotations

import subprocess
import sys

import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st

from kong_plugins.llm import tokens
from kong_plugins.llm.tokens import (
    EXACT_CHARACTERS,
    UNKNOWN_FAMILY,
    Prompt,
    family_of,
    input_bound_tokens,
    strings_in,
    utf8_bytes,
)

WINDOW = 10_000_000


@pytest.fixture(autouse=True, scope="module")
def loaded_encodings() -> None:
    tokens.load_encodings()


def bound(texts: tuple[str, ...], provider_model: str = "gpt-4o-mini", schema_bytes: int = 0) -> int:
    prompt = Prompt(texts=texts, message_count=1, schema_bytes=schema_bytes)
    return input_bound_tokens(prompt, provider_model=provider_model, context_window_tokens=WINDOW)


@given(st.lists(st.text(), max_size=5))
def test_a_known_tokenizers_bound_lies_between_its_own_count_and_the_bytes(texts: list[str]) -> None:
    encoding = tiktoken.get_encoding("o200k_base")
    counted = sum(len(encoding.encode_ordinary(text)) for text in texts)

    assert counted <= bound(tuple(texts)) <= sum(map(utf8_bytes, texts)) + 21


@given(st.text(min_size=1, max_size=50), st.integers(EXACT_CHARACTERS // 8, EXACT_CHARACTERS // 2))
def test_beyond_the_counted_part_a_bound_still_holds(text: str, times: int) -> None:
    long = (text * times)[: 2 * EXACT_CHARACTERS]

    assert len(tiktoken.get_encoding("o200k_base").encode_ordinary(long)) <= bound((long,))


def test_a_short_question_is_bounded_closely() -> None:
    """OpenAI bills 9 tokens for this message."""
    assert 9 <= bound(("user", "Hello there")) <= 9 + 16


def test_a_million_spaces_are_bounded_without_a_panic() -> None:
    assert bound((" " * 2_000_000,)) >= 2_000_000 - EXACT_CHARACTERS


def test_many_small_texts_cost_no_more_calls_of_the_tokenizer_than_one_long_text() -> None:
    assert bound(("a",) * 100_000) == 100_000 + 21


def test_an_unknown_model_is_bounded_by_bytes() -> None:
    overhead = UNKNOWN_FAMILY.base_tokens + UNKNOWN_FAMILY.tokens_per_message

    assert bound(("häufig",), provider_model="our-own-llama") == 7 + overhead


def test_tools_are_bounded_by_their_bytes_in_json() -> None:
    assert bound((), schema_bytes=100) - bound(()) == 100 + 512


def test_an_image_may_fill_the_whole_window_and_nothing_fills_more() -> None:
    image = Prompt(texts=(), message_count=1, has_media=True)
    long = Prompt(texts=("word " * 1000,), message_count=1)

    assert input_bound_tokens(image, provider_model="gpt-4o", context_window_tokens=128_000) == 128_000
    assert input_bound_tokens(long, provider_model="gpt-4o", context_window_tokens=500) == 500


@pytest.mark.parametrize(
    ("provider_model", "encoding", "hides_reasoning"),
    [
        ("gpt-4o", "o200k_base", False),
        ("gpt-4o-mini-2024-07-18", "o200k_base", False),
        ("ft:gpt-4o-mini:acme::id", "o200k_base", False),
        ("chatgpt-4o-latest", "o200k_base", False),
        ("gpt-4.1-nano", "o200k_base", False),
        ("gpt-5", "o200k_base", True),
        ("gpt-5.2-mini", "o200k_base", True),
        ("o3-mini", "o200k_base", True),
        ("o1", "o200k_base", True),
        ("gpt-4", "cl100k_base", False),
        ("gpt-4-turbo", "cl100k_base", False),
        ("gpt-3.5-turbo-0125", "cl100k_base", False),
        ("gpt-35-turbo", "cl100k_base", False),
        ("gpt-4.5-preview", None, True),
        ("gpt-oss-20b", None, True),
        ("openai/gpt-4o", None, True),
        ("my-gpt-4o", None, True),
        ("llama-3.1-8b", None, True),
        ("anthropic.claude-3-haiku-20240307-v1:0", None, False),
        ("eu.anthropic.claude-sonnet-4-5-20250929-v1:0", None, False),
        ("arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-haiku-4-5-20251001-v1:0", None, False),
        ("us.anthropic.claude-opus-9-v1:0", None, True),
        ("arn:aws:bedrock:us-east-1:1:application-inference-profile/a1b2c3", None, True),
        ("us.amazon.nova-lite-v1:0", None, False),
        ("us.amazon.nova-2-lite-v1:0", None, True),
        ("o3d", None, True),
    ],
)
def test_a_model_is_known_by_its_providers_name_or_treated_with_care(
    provider_model: str, encoding: str | None, hides_reasoning: bool
) -> None:
    family = family_of(provider_model)

    assert (family.encoding, family.hides_reasoning) == (encoding, hides_reasoning)


def test_a_lone_surrogate_counts_as_the_character_that_replaces_it() -> None:
    assert utf8_bytes("\ud800") == utf8_bytes("\N{REPLACEMENT CHARACTER}")
    assert bound(("\ud800",)) > 0


def test_every_scalar_of_a_value_is_found_at_any_depth() -> None:
    value: object = "deep"
    for _ in range(5000):
        value = [{"name": value}]

    assert "deep" in set(strings_in(value, names=False))
    assert sorted(strings_in({"a": [1, None, True], "b": {"c": "d"}}, names=True)) == [
        "1",
        "None",
        "True",
        "a",
        "b",
        "c",
        "d",
    ]
    assert sorted(strings_in({"a": "x"}, names=False)) == ["x"]


def test_tokenizers_load_beside_the_requests_of_a_plugin_server() -> None:
    """Under gevent's patches, as the launcher makes them, with bytes as the bound until the tables are there."""
    program = """
from gevent import monkey; monkey.patch_all()
import gevent
from kong_plugins.llm import tokens
prompt = tokens.Prompt(texts=("word " * 100,), message_count=1)
def bound(): return tokens.input_bound_tokens(prompt, provider_model="gpt-4o", context_window_tokens=10**6)
cold = bound()
tokens.warm_up()
while len(tokens._loaded) < 2:
    gevent.sleep(0.01)
tokens.warm_up()
print(cold, bound())
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert run.stdout.split() == ["521", "122"]
    assert run.stderr == ""
