"""The error tree tells SDKs what to do, and every code is its own."""

from __future__ import annotations

import pytest

from kong_plugins.llm.errors import BursarError, InsufficientQuota, PolicyUnavailable, RateLimitExceeded


def leaves(error: type[BursarError] = BursarError) -> list[type[BursarError]]:
    subclasses = error.__subclasses__()
    below = [leaf for subclass in subclasses for leaf in leaves(subclass)]
    return below or [error]


def test_every_error_that_is_raised_has_a_code_of_its_own_and_a_status() -> None:
    codes = [error.code for error in leaves()]

    assert len(set(codes)) == len(codes) >= 9
    assert BursarError.code not in codes
    assert all(400 <= error.http_status < 600 for error in leaves())


def test_a_rate_limit_says_when_to_come_back_in_both_units() -> None:
    headers = RateLimitExceeded("Slow down.", retry_after_ms=1200).headers()

    assert headers == {"x-should-retry": "true", "retry-after": "2", "retry-after-ms": "1200"}


def test_a_wait_of_less_than_a_second_is_still_one_second_in_the_header_of_seconds() -> None:
    assert RateLimitExceeded("Slow down.", retry_after_ms=0).headers()["retry-after"] == "1"


@pytest.mark.parametrize(("error", "retry"), [(InsufficientQuota, "false"), (PolicyUnavailable, "true")])
def test_sdks_are_told_whether_to_try_again(error: type[BursarError], retry: str) -> None:
    assert error("No.").headers() == {"x-should-retry": retry}
