"""The one module that sends HTTP requests of our own. What an endpoint answers is never read, only its status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import httpx

_TIMEOUT: Final = httpx.Timeout(10.0, connect=5.0)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The status that an endpoint answered with, or in a word why there was none."""

    http_status: int | None = None
    error: str = ""

    @property
    def accepted(self) -> bool:
        return self.http_status is not None and 200 <= self.http_status < 300


def post_json(url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
    """POST a JSON body. Redirects are not followed: they could lead to where the URL was not allowed to."""
    try:
        with (
            httpx.Client(timeout=_TIMEOUT, follow_redirects=False) as client,
            client.stream("POST", url, content=body, headers={"content-type": "application/json", **headers}) as answer,
        ):
            return Answer(http_status=answer.status_code)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return Answer(error=type(error).__name__)
