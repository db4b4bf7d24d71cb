"""Token counts that contradict themselves do not become usage."""

from __future__ import annotations

from typing import Any

import pytest

from kong_plugins.llm.usage import Usage


def test_the_total_is_input_and_output() -> None:
    usage = Usage(input_tokens=10, cache_read_tokens=4, cache_write_tokens=6, output_tokens=7, reasoning_tokens=7)

    assert usage.total_tokens == 17


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        ({"input_tokens": -1}, "negative"),
        ({"output_tokens": -1}, "negative"),
        ({"input_tokens": 5, "cache_read_tokens": -1}, "negative"),
        ({"units": {"image": -1}}, "negative"),
        ({"input_tokens": 5, "cache_read_tokens": 6}, "part of the input"),
        ({"input_tokens": 5, "cache_read_tokens": 3, "cache_write_tokens": 3}, "part of the input"),
        ({"output_tokens": 3, "reasoning_tokens": 4}, "part of the output"),
        ({"input_tokens": 5, "input_audio_tokens": 3, "input_image_tokens": 3}, "part of the input"),
        ({"input_tokens": 5, "cache_read_tokens": 1, "cache_read_audio_tokens": 1}, "part of the audio"),
        ({"input_tokens": 5, "cache_read_tokens": 1, "cache_read_image_tokens": 1}, "part of the images"),
        ({"input_tokens": 5, "input_audio_tokens": 5, "cache_read_audio_tokens": 1}, "part of the cached"),
        ({"output_tokens": 5, "output_audio_tokens": 3, "output_image_tokens": 3}, "part of the output"),
    ],
)
def test_usage_that_contradicts_itself_is_refused(counts: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Usage(**counts)


def test_what_is_cached_for_an_hour_is_part_of_what_is_cached() -> None:
    with pytest.raises(ValueError, match="for an hour"):
        Usage(input_tokens=10, cache_write_tokens=3, cache_write_1h_tokens=4)
