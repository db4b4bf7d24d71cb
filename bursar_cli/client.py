"""Calls to the REST API: retried where that is safe, followed from page to page, refused in its own words."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, Final

import click
import httpx

ATTEMPTS: Final = 4
LONGEST_PAUSE_SECONDS: Final = 30.0
_TRY_AGAIN: Final = {429, 503}


class Refused(click.ClickException):
    """The API said no: exit code 1."""

    exit_code = 1


class Conflicting(Refused):
    """Somebody else has changed the row since it was read: exit code 3."""

    exit_code = 3


class Unreachable(click.ClickException):
    """There was no answer: exit code 4."""

    exit_code = 4


class Api:
    def __init__(self, url: str, token: str) -> None:
        self._http = httpx.Client(
            base_url=url.rstrip("/") + "/api/v1/", headers={"Authorization": f"Token {token}"}, timeout=30.0
        )

    def close(self) -> None:
        self._http.close()

    def get(self, path: str, query: Mapping[str, str] | None = None) -> httpx.Response:
        return self._call("GET", path, query=query)

    def rows(self, path: str, query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """Every row of a list, whatever its number of pages."""
        page = self.get(path, query).json()
        yield from page["results"]
        while page["next"]:
            page = self.get(path, dict(httpx.URL(page["next"]).params)).json()
            yield from page["results"]

    def write(self, method: str, path: str, body: Mapping[str, Any], etag: str | None = None) -> dict[str, Any]:
        """Write once, however often it has to be sent."""
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        if etag is not None:
            headers["If-Match"] = etag
        answer: dict[str, Any] = self._call(method, path, body=body, headers=headers).json()
        return answer

    def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                response = self._http.request(method, path, params=query, json=body, headers=headers)
            except httpx.TransportError as error:
                if attempt == ATTEMPTS:
                    raise Unreachable(f"{self._http.base_url} does not answer: {error}") from None
                time.sleep(2 ** (attempt - 2))
                continue
            if response.status_code not in _TRY_AGAIN or attempt == ATTEMPTS:
                break
            time.sleep(_pause_seconds(response, attempt))
        if not response.is_success:
            raise _refusal(response)
        return response


def from_environment() -> Api:
    """The API that BURSAR_URL names, for the holder of BURSAR_TOKEN."""
    url, token = os.environ.get("BURSAR_URL"), os.environ.get("BURSAR_TOKEN")
    if not url or not token:
        raise click.UsageError("Set BURSAR_URL to the control plane's address and BURSAR_TOKEN to an API token.")
    api = Api(url, token)
    click.get_current_context().call_on_close(api.close)
    return api


def _pause_seconds(response: httpx.Response, attempt: int) -> float:
    asked = response.headers.get("retry-after", "")
    return min(float(asked) if asked.isdecimal() else 2.0 ** (attempt - 2), LONGEST_PAUSE_SECONDS)


def _refusal(response: httpx.Response) -> Refused:
    kind = Conflicting if response.status_code == 409 else Refused
    if not response.headers.get("content-type", "").startswith("application/problem+json"):
        return kind(f"{response.status_code} {response.reason_phrase}: is BURSAR_URL the control plane's address?")
    problem = response.json()
    fields = [f"  {entry['field'] or 'as a whole'}: {entry['message']}" for entry in problem.get("errors", [])]
    return kind("\n".join([problem["title"], *(fields or [problem["detail"]])]))
