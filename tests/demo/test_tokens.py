"""Texts of an exact number of tokens."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from demo.simulator.tokens import count_tokens, write_tokens


@given(count=st.integers(0, 400), seed=st.text(max_size=20))
def test_a_written_text_has_exactly_the_tokens_that_were_asked_for(count: int, seed: str) -> None:
    words = write_tokens(count, seed=seed)
    assert len(words) == count
    assert count_tokens("".join(words)) == count


def test_an_equal_prompt_gets_an_equal_text() -> None:
    assert write_tokens(50, seed="why?") == write_tokens(50, seed="why?")
    assert write_tokens(50, seed="why?") != write_tokens(50, seed="how?")


def test_markers_of_the_model_are_counted_as_the_text_they_are() -> None:
    assert count_tokens("<|endoftext|>") > 1


def test_a_million_blanks_do_not_stop_the_provider() -> None:
    assert 0 < count_tokens(" " * 1_100_000) < 100_000
