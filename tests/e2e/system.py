"""A running Bursar as the end-to-end tests see it: what an SDK, an administrator and the provider's books can see.

Nothing here knows which gateway runs. Each test gets a team, a model and a provider account of its own, so that
tests can share one system and still ask the simulator for exactly their books.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final, Protocol, Self, TypeVar

import httpx
from anthropic import Anthropic
from openai import OpenAI

PROVIDER_MODEL: Final = "gpt-4o-mini"
PRICE: Final = {
    "input_usd_per_mtok": "0.15",
    "cache_read_usd_per_mtok": "0.075",
    "cache_write_usd_per_mtok": "0.15",
    "output_usd_per_mtok": "0.60",
}

# What `System.new_team` needs to know of a model at Anthropic.
CLAUDE: Final[dict[str, Any]] = {
    "protocol": "anthropic_messages",
    "provider_model": "claude-haiku-4-5",
    "price": {
        "input_usd_per_mtok": "1.00",
        "cache_read_usd_per_mtok": "0.10",
        "cache_write_usd_per_mtok": "1.25",
        "cache_write_1h_usd_per_mtok": "2.00",
        "output_usd_per_mtok": "5.00",
    },
}

Found = TypeVar("Found")


class _Closable(Protocol):
    def close(self) -> object: ...


Client = TypeVar("Client", bound=_Closable)


def eventually(look: Callable[[], Found | None], *, within_s: float, what: str) -> Found:
    """Look again and again until something is there; fail after `within_s`."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {within_s} s: {what}")


@dataclass(frozen=True)
class Team:
    """A team with a key, a monthly hard budget, and a model at a provider account of its own."""

    system: System
    slug: str
    model: str
    account: str
    key_id: str
    key: str
    budget_id: str

    def sdk(self, *, key: str | None = None) -> OpenAI:
        """The unmodified OpenAI SDK with its base URL changed; without retries, so that a test sees each answer."""
        base_url = f"{self.system.gateway}/v1"
        return self.system.closing(OpenAI(base_url=base_url, api_key=key or self.key, max_retries=0, timeout=60))

    def anthropic(self, *, key: str | None = None, max_retries: int = 0) -> Anthropic:
        """The unmodified Anthropic SDK with its base URL changed."""
        sdk = Anthropic(base_url=self.system.gateway, api_key=key or self.key, max_retries=max_retries, timeout=60)
        return self.system.closing(sdk)

    def post(self, body: bytes | dict[str, Any], **headers: str) -> httpx.Response:
        """A raw chat completion request with this team's key."""
        content = body if isinstance(body, bytes) else None
        return self.system.client.post(
            f"{self.system.gateway}/v1/chat/completions",
            content=content,
            json=None if isinstance(body, bytes) else body,
            headers={"content-type": "application/json", "authorization": f"Bearer {self.key}"} | headers,
        )

    def request(self, **fields: Any) -> dict[str, Any]:
        """A small chat completion request."""
        return {"model": self.model, "messages": [{"role": "user", "content": "Hello there"}]} | fields

    def behave(self, **behaviour: Any) -> None:
        """Set how the provider answers this team's account."""
        self.system.provider_call("PUT", "/_behaviour", self.account, json=behaviour)

    def books(self) -> list[dict[str, Any]]:
        """What the provider has billed this team's account: the independent oracle."""
        calls: list[dict[str, Any]] = self.system.provider_call("GET", "/_books", self.account).json()["calls"]
        return calls

    def ledger(self) -> list[dict[str, Any]]:
        """This team's rows of the ledger, all kinds."""
        rows: list[dict[str, Any]] = []
        url: str | None = f"/api/v1/events?team={self.slug}"
        while url:
            page = self.system.api.get(url).raise_for_status().json()
            rows += page["results"]
            url = page["next"]
        return rows

    def spent_in_ledger(self) -> list[dict[str, Any]]:
        """The ledger's rows of calls that reached the provider."""
        return [row for row in self.ledger() if row["kind"] in ("posted", "expired", "adjusted")]

    def booked(self, calls: int = 1) -> list[dict[str, Any]]:
        """The rows of so many exactly known calls, which agree with the provider's books to the nano-dollar."""

        def look() -> list[dict[str, Any]] | None:
            found = self.spent_in_ledger()
            return found if len(found) >= calls else None

        rows = eventually(look, within_s=10, what=f"{calls} calls in the ledger")
        billed = {call["client_request_id"]: call["amount_nusd"] for call in self.books() if call["status"] == 200}
        assert {row["request_id"]: row["amount_nusd"] for row in rows} == billed
        assert all(row["quality"] == "exact" and row["amount_nusd"] > 0 for row in rows)
        return rows

    def budget(self) -> dict[str, Any]:
        answer: dict[str, Any] = self.system.api.get(f"/api/v1/budgets/{self.budget_id}").raise_for_status().json()
        return answer

    def set_cap_nusd(self, amount: int) -> None:
        self.system.change(f"/api/v1/budgets/{self.budget_id}", amount=amount)


class System:
    """One running system, known by what its `ready.json` says."""

    def __init__(self, ready: dict[str, Any]) -> None:
        self.ready = ready
        self.gateway: str = ready["gateway"]
        self.provider: str = ready["provider"]
        self.api = httpx.Client(
            base_url=ready["control_plane"], headers={"authorization": f"Token {ready['api_token']}"}, timeout=30
        )
        self.client = httpx.Client(timeout=60)
        self._to_close = ExitStack()
        self._to_close.callback(self.client.close)
        self._to_close.callback(self.api.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._to_close.close()

    def closing(self, client: Client) -> Client:
        """Have a client closed when the tests are through."""
        self._to_close.callback(client.close)
        return client

    def provider_call(self, method: str, path: str, account: str, **arguments: Any) -> httpx.Response:
        url = f"{self.provider}{path}"
        return self.client.request(method, url, params={"account": account}, **arguments).raise_for_status()

    def create(self, kind: str, **fields: Any) -> dict[str, Any]:
        answer = self.api.post(f"/api/v1/{kind}", json=fields)
        assert answer.status_code == 201, answer.text
        created: dict[str, Any] = answer.json()
        return created

    def change(self, path: str, **fields: Any) -> None:
        answer = self.api.patch(path, json=fields)
        assert answer.status_code == 200, answer.text

    def new_team(
        self, name: str, *, cap_nusd: int = 10_000_000_000, max_output_tokens: int = 4096, **deployment: Any
    ) -> Team:
        """Make a team that may use one model of its own, with a hard monthly budget; `deployment` says how it is
        served, if not at OpenAI."""
        slug = f"{name}-{uuid.uuid4().hex[:8]}"
        account = f"sk-sim-{slug}"
        self.create("providers", name=slug, base_url=f"{self.provider}/v1", credential=account)
        self.create(
            "models",
            name=slug,
            context_window_tokens=128_000,
            max_output_tokens=max_output_tokens,
            default_output_tokens=min(1024, max_output_tokens),
        )
        served = {"provider_model": PROVIDER_MODEL, "price": PRICE} | deployment
        self.create("deployments", model=slug, provider=slug, **served)
        self.create("teams", slug=slug, name=slug, tier="normal", models=[slug])
        key = self.create("keys", team=slug, name=f"{slug}-prod")
        budget = self.create(
            "budgets", name=slug, scope="team", subject=slug, unit="nusd", period="month", amount=cap_nusd
        )
        return Team(
            system=self,
            slug=slug,
            model=slug,
            account=account,
            key_id=key["id"],
            key=key["key"],
            budget_id=budget["id"],
        )

    def new_limit(self, team: Team, unit: str, amount: int, *, window_seconds: int = 60) -> dict[str, Any]:
        """Limit a team to `amount` units in any window."""
        return self.create(
            "limits",
            name=team.slug,
            scope="team",
            subject=team.slug,
            unit=unit,
            amount=amount,
            window_seconds=window_seconds,
        )
