"""What the control plane's tests act with: an organization, its administrator Alice, and the REST API."""

from __future__ import annotations

import json
import os
import re
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from django.conf import settings
from django.db import connection
from django.test import Client

from control_plane.teams.models import Organization, User
from kong_plugins.llm.limits import Granted, Reservation
from kong_plugins.llm.release import PolicyDocument
from kong_plugins.llm.store import Store

PRICE: Final = {
    "input_usd_per_mtok": "0.15",
    "cache_read_usd_per_mtok": "0.075",
    "cache_write_usd_per_mtok": "0.15",
    "output_usd_per_mtok": "0.60",
}


@dataclass(frozen=True)
class Api:
    """The REST API as a program of one organization calls it."""

    organization: Organization
    user: User
    token: str
    store: Store

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """The answer to one request; `body` is JSON or, as text, sent as it is; of headers, _ stands for -."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        client = Client(headers={"authorization": f"Token {self.token}"} | named, raise_request_exception=False)
        return client.generic(
            method,
            f"/api/v1/{path}",
            body if isinstance(body, str) else json.dumps(body),
            content_type="application/json",
        )

    def get(self, path: str) -> Any:
        answer = self.call("GET", path)
        assert answer.status_code == 200, answer.content
        return answer.json()

    def create(self, kind: str, **fields: Any) -> Any:
        answer = self.call("POST", kind, fields)
        assert answer.status_code == 201, answer.content
        return answer.json()

    def change(self, path: str, **fields: Any) -> Any:
        answer = self.call("PATCH", path, fields)
        assert answer.status_code == 200, answer.content
        return answer.json()

    def refused_fields(self, method: str, path: str, body: Any) -> set[str | None]:
        """The fields that a 400 names."""
        answer = self.call(method, path, body)
        assert answer.status_code == 400, answer.content
        assert answer["content-type"] == "application/problem+json"
        return {error["field"] for error in answer.json()["errors"]}

    def policy(self) -> PolicyDocument:
        """The policy that gateways read."""
        document = self.store.get_policy(self.organization.slug)
        assert document is not None
        return document

    def team(self, slug: str = "search", **fields: Any) -> Any:
        return self.create("teams", slug=slug, name=slug.capitalize(), **fields)

    def model(self, name: str = "gpt-4o-mini") -> Any:
        return self.create(
            "models", name=name, context_window_tokens=128_000, max_output_tokens=16_384, default_output_tokens=1_024
        )

    def provider(self, name: str = "openai") -> Any:
        return self.create("providers", name=name, base_url="https://api.example.com/v1", credential="sk-provider")

    def deployment(self, **fields: Any) -> Any:
        self.model()
        self.provider()
        usual = {"model": "gpt-4o-mini", "provider": "openai", "provider_model": "gpt-4o-mini", "price": PRICE}
        return self.create("deployments", **(usual | fields))

    def budget(self, **fields: Any) -> Any:
        usual = {"name": "Search, monthly", "scope": "team", "subject": "search", "period": "month", "amount": 1_000}
        return self.create("budgets", **(usual | fields))

    def limit(self, **fields: Any) -> Any:
        usual = {"name": "rpm", "scope": "team", "subject": "search", "unit": "requests", "amount": 600}
        return self.create("limits", **(usual | {"window_seconds": 60} | fields))


def all_at_once(calls: list[Callable[[], Any]]) -> list[Any]:
    """Make the calls at the same moment, each with a database connection of its own; return their results."""
    barrier = threading.Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        try:
            barrier.wait()
            return call()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(run, calls))


def admits(store: Store, organization: str) -> bool:
    """Whether gateways may admit a call to which no limit and no budget applies."""
    policy = store.get_policy(organization)
    assert policy is not None
    call = Reservation(
        organization=organization,
        request_id=uuid.uuid4().hex,
        policy_number=policy.number,
        lease_ms=1_000,
        hold_nusd=0,
        hold_tokens=0,
        limits=(),
        budgets=(),
        draft=b"{}",
    )
    return isinstance(store.reserve(call), Granted)


def environment(**changes: str) -> dict[str, str]:
    """What the test's own Django was set up with, its test database included."""
    database = connection.settings_dict
    return os.environ | {
        "DATABASE_URL": f"postgresql://{database['USER']}:{database['PASSWORD']}@{database['HOST']}:{database['PORT']}"
        f"/{database['NAME']}",
        "REDIS_URL": settings.REDIS_URL,
        "BURSAR_KEY_PEPPER": settings.KEY_PEPPER,
        "BURSAR_CREDENTIAL_KEY": settings.CREDENTIAL_KEY,
        "BURSAR_SECRET_KEY": settings.SECRET_KEY,
        **changes,
    }


def post(pages: Client, path: str, fields: dict[str, Any]) -> str:
    """The page after a form was sent."""
    answer = pages.post(path, fields, follow=True)
    assert answer.status_code == 200
    page = answer.content.decode()
    assert "errornote" not in page, re.findall(r"errorlist[^>]*>.*?</ul>", page, re.DOTALL)
    return page


def shown_errors(pages: Client, path: str, fields: dict[str, Any]) -> str:
    """The page of a form that was not taken."""
    answer = pages.post(path, fields)
    assert answer.status_code == 200
    return answer.content.decode()
