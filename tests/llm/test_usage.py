"""Token counts that contradict themselves do not become usage."""

from __future__ import annotations

import pytest

from kong_plugins.llm.usage import Usage


def test_the_total_is_input_and_output() -> None:
    usage = Usage(input_tokens=10, cache_read_tokens=4, cache_write_tokens=6, output_tokens=7, reasoning_tokens=7)

    assert usage.total_tokens == 17


@pytest.mark.parametrize(
    ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens"),
    [(-1, 0, 0, 0, 0), (0, 0, 0, -1, 0), (5, 6, 0, 0, 0), (5, 3, 3, 0, 0), (5, 0, 0, 3, 4), (5, -1, 0, 0, 0)],
)
def test_usage_that_contradicts_itself_is_refused(
    input_tokens: int, cache_read_tokens: int, cache_write_tokens: int, output_tokens: int, reasoning_tokens: int
) -> None:
    with pytest.raises(ValueError, match="token"):
        Usage(
            input_tokens=input_tokens,
            cache_read_tokens=cache_read_tokens,
            cache_write_tokens=cache_write_tokens,
            output_tokens=output_tokens,
            reasoning_tokens=reasoning_tokens,
        )


def test_what_is_cached_for_an_hour_is_part_of_what_is_cached() -> None:
    with pytest.raises(ValueError, match="for an hour"):
        Usage(input_tokens=10, cache_write_tokens=3, cache_write_1h_tokens=4)
