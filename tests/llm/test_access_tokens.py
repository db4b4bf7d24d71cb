"""Access tokens are fetched beside the calls, and in good time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import msgspec
import pytest

from kong_plugins.llm.access_tokens import AccessTokens, TokenSource
from kong_plugins.llm.errors import PolicyUnavailable
from kong_plugins.llm.oauth import AccessToken, EntraClient, TokenRequest, TokenUnavailable
from stack.readiness import eventually
from tests.llm.token_endpoint import TokenEndpoint, entra_client, token_endpoint

SOURCE = EntraClient(tenant_id="acme", client_id="bursar", client_secret="s3cret")
OTHER = EntraClient(tenant_id="acme", client_id="other", client_secret="s3cret")
WANTED: dict[TokenSource, str] = {SOURCE: "acme/azure"}
HOUR_MS = 3_600_000


class Desk:
    """Hands out numbered tokens of an hour, unless it is closed; its clock is moved by hand."""

    def __init__(self) -> None:
        self.now_ms = 1_000
        self.fetched = 0
        self.is_open = True
        self.lifetime_ms = HOUR_MS
        self.tokens = AccessTokens(fetch=self.fetch, spawn=self.spawn, elapsed_ms=lambda: self.now_ms)
        self.postponed: list[Callable[[], None]] = []
        self.postpones = False

    def spawn(self, work: Callable[[], None]) -> None:
        if self.postpones:
            self.postponed.append(work)
        else:
            work()

    def fetch(self, request: TokenRequest) -> AccessToken:
        if not self.is_open:
            raise TokenUnavailable("the token endpoint answered 400 invalid_client")
        self.fetched += 1
        return AccessToken(value=f"token-{self.fetched}", lifetime_ms=self.lifetime_ms)

    def after(self, milliseconds: int) -> None:
        """So much later, the keeper has looked at what is due."""
        self.now_ms += milliseconds
        self.tokens.refresh(WANTED)

    def retry_after_ms(self) -> int | None:
        with pytest.raises(PolicyUnavailable, match="no access token") as refusal:
            self.tokens.current(SOURCE, "acme/azure")
        return refusal.value.retry_after_ms


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_call_without_a_token_is_told_to_come_again_and_finds_one_then(desk: Desk) -> None:
    assert not desk.tokens.has(SOURCE)
    assert desk.retry_after_ms() == 1_000

    desk.after(0)

    assert desk.tokens.has(SOURCE)
    assert desk.tokens.current(SOURCE, "acme/azure") == "token-1"


def test_a_token_is_renewed_at_half_its_time_and_not_before(desk: Desk) -> None:
    desk.after(0)
    desk.after(HOUR_MS // 2 - 1)
    assert desk.tokens.current(SOURCE, "acme/azure") == "token-1"

    desk.after(1)

    assert desk.tokens.current(SOURCE, "acme/azure") == "token-2"


def test_while_the_endpoint_is_away_the_old_token_lasts_until_two_minutes_before_its_end(desk: Desk) -> None:
    desk.after(0)
    desk.is_open = False
    desk.after(HOUR_MS - 120_001)
    assert desk.tokens.current(SOURCE, "acme/azure") == "token-1"

    desk.after(1)

    assert not desk.tokens.has(SOURCE)
    assert desk.retry_after_ms() == 1_999


def test_a_short_token_is_used_for_three_quarters_of_its_time(desk: Desk) -> None:
    desk.lifetime_ms = 60_000
    desk.after(0)

    desk.now_ms += 44_999
    assert desk.tokens.has(SOURCE)
    desk.now_ms += 1
    assert not desk.tokens.has(SOURCE)


def test_an_endpoint_that_refuses_is_asked_ever_more_seldom_and_no_secret_is_logged(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.is_open = False
    desk.after(0)
    for pause_ms in (2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000):
        assert desk.retry_after_ms() == pause_ms
        desk.after(pause_ms - 1)
        assert desk.retry_after_ms() == 1_000
        desk.after(1)

    assert "credential acme/azure: the token endpoint answered 400 invalid_client" in caplog.text
    assert "s3cret" not in caplog.text
    desk.is_open = True
    desk.after(60_000)
    assert desk.tokens.current(SOURCE, "acme/azure") == "token-1"


def test_nothing_is_asked_for_twice_at_once(desk: Desk) -> None:
    desk.postpones = True
    desk.after(0)
    desk.after(5_000)

    [fetching] = desk.postponed
    fetching()
    desk.after(5_000)

    assert desk.fetched == 1
    assert len(desk.postponed) == 1


def test_the_token_of_a_credential_that_is_used_no_more_is_forgotten(desk: Desk) -> None:
    desk.after(0)

    desk.tokens.refresh({OTHER: "acme/other"})

    assert not desk.tokens.has(SOURCE)
    assert desk.tokens.has(OTHER)


def test_a_key_that_cannot_sign_is_an_endpoint_that_refuses(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(EntraClient, frozen=True):
        def request(self, now_ms: int) -> TokenRequest:
            raise ValueError("private_key is no key in PEM")

    broken = Broken(tenant_id="t", client_id="c", client_secret="s")

    desk.tokens.refresh({broken: "acme/vertex"})

    assert not desk.tokens.has(broken)
    assert "acme/vertex: private_key is no key in PEM" in caplog.text


@pytest.fixture
def endpoint() -> Iterator[TokenEndpoint]:
    with token_endpoint() as running:
        yield running


def test_a_started_keeper_fetches_what_is_wanted_and_what_a_call_asks_for_at_once(endpoint: TokenEndpoint) -> None:
    source = msgspec.json.decode(entra_client(endpoint.url), type=EntraClient)
    newcomer = msgspec.json.decode(entra_client(endpoint.url, client_id="newcomer"), type=EntraClient)
    wanted: dict[TokenSource, str] = {source: "acme/azure"}
    tokens = AccessTokens()
    tokens.start(lambda: dict(wanted))
    eventually(lambda: tokens.has(source), "the first token", within_s=30)

    wanted[newcomer] = "acme/newcomer"
    with pytest.raises(PolicyUnavailable):
        tokens.current(newcomer, "acme/newcomer")
    eventually(lambda: tokens.has(newcomer), "the newcomer's token", within_s=30)

    tokens.close()
    assert [form["client_id"] for form in endpoint.asked] == ["bursar", "newcomer"]


def test_a_keeper_that_cannot_know_what_is_wanted_keeps_what_it_has(
    endpoint: TokenEndpoint, caplog: pytest.LogCaptureFixture
) -> None:
    source = msgspec.json.decode(entra_client(endpoint.url), type=EntraClient)
    failures: list[Exception] = []

    def wanted() -> dict[TokenSource, str]:
        if failures:
            raise failures[-1]
        return {source: "acme/azure"}

    tokens = AccessTokens()
    tokens.start(wanted)
    eventually(lambda: tokens.has(source), "the first token", within_s=30)
    caplog.set_level(logging.WARNING)
    for failure, said in (
        (PolicyUnavailable("Redis is away"), "is not known: Redis is away"),
        (RuntimeError("a fault"), "RuntimeError: a fault"),
    ):
        failures.append(failure)
        with pytest.raises(PolicyUnavailable):
            tokens.current(OTHER, "acme/other")
        eventually(lambda said=said: said in caplog.text, said, within_s=30)  # type: ignore[misc]

    assert tokens.has(source)
    tokens.close()


def test_a_keeper_that_was_never_started_can_be_closed() -> None:
    AccessTokens().close()
