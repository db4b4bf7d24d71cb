"""Questions as Kong asks them: the real entry files answer for the provider, and no grant stands beside an answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from kong_plugins.llm.release import Limit, Scope
from tests.llm.gateway import Gateway, body
from tests.llm.kong import KongRequest, plugin
from tests.llm.node import node_of

RPM = Limit(id="rpm", scope=Scope(kind="team", subject=None), unit="requests", amount=1, window_ms=60_000)
USERS = Limit(id="users", scope=Scope(kind="user", subject=None), unit="requests", amount=1, window_ms=60_000)


@pytest.fixture
def key_auth(gateway: Gateway, redis_address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with node_of(redis_address, monkeypatch):
        yield plugin("llm-key-auth", protocol="openai_chat")


def ask(
    key_auth: Any,
    gateway: Gateway,
    data: bytes = b"",
    *,
    answers: str = "calls",
    path: str = "/v1/chat/completions",
    **headers: str,
) -> KongRequest:
    request = KongRequest(data, **({"authorization": f"Bearer {gateway.key}"} | headers))
    request.path = path
    request.run(key_auth, "access")
    request.run(plugin("llm-rate-limit", protocol="openai_chat", answers=answers), "access")
    return request


def answer_to(request: KongRequest, *, is_dry_run: bool = True) -> dict[str, Any]:
    assert request.exit is not None
    status, content, headers = request.exit
    assert status == 200, content
    assert "llm_grant" not in request.shared
    dry_run = {"x-bursar-dry-run": "1"} if is_dry_run else {}
    assert headers == {"content-type": "application/json", "cache-control": "no-store"} | dry_run
    return content


def test_a_dry_run_of_a_stream_is_answered_with_json_and_no_grant(key_auth: Any, gateway: Gateway) -> None:
    request = ask(key_auth, gateway, body(stream=True, max_tokens=50), x_bursar_dry_run="1")

    answer = answer_to(request)
    assert (answer["admitted"], answer["model"], answer["max_tokens"]) == (True, "mini", 50)
    assert gateway.store.open_holds(gateway.organization) == 0
    assert request.calls[-1] == "kong.response.exit"


def test_the_route_of_estimates_never_spends_even_where_no_header_asks_for_it(key_auth: Any, gateway: Gateway) -> None:
    question = {"path": "/v1/chat/completions", "body": json.loads(body())}

    assert answer_to(ask(key_auth, gateway, body(), answers="estimates"))["admitted"]
    assert answer_to(ask(key_auth, gateway, json.dumps(question).encode(), answers="estimates"))["admitted"]
    assert gateway.store.open_holds(gateway.organization) == 0


def test_a_key_asks_for_its_own_limits(key_auth: Any, gateway: Gateway) -> None:
    gateway.publish(limits=(RPM,))

    request = ask(key_auth, gateway, answers="limits")

    assert answer_to(request, is_dry_run=False)["limits"][0]["remaining"] == 1
    assert "kong.request.get_raw_body" not in request.calls


@pytest.mark.parametrize(
    ("path", "named"),
    [("/v1/models", ["mini"]), ("/v1/models/", ["mini"]), ("/v1/models/mini", "mini")],
)
def test_a_key_asks_for_its_models(key_auth: Any, gateway: Gateway, path: str, named: object) -> None:
    answer = answer_to(ask(key_auth, gateway, answers="models", path=path), is_dry_run=False)

    assert named == ([model["id"] for model in answer["data"]] if answer["object"] == "list" else answer["id"])


def test_a_model_that_the_key_may_not_use_does_not_exist_for_it(key_auth: Any, gateway: Gateway) -> None:
    request = ask(key_auth, gateway, answers="models", path="/v1/models/secret")

    assert request.exit is not None
    assert (request.exit[0], request.exit[1]["error"]["code"]) == (404, "model_not_found")


@pytest.mark.parametrize("answers", ["estimates", "limits", "models"])
def test_nobody_asks_without_a_key(key_auth: Any, gateway: Gateway, answers: str) -> None:
    request = ask(key_auth, gateway, body(), answers=answers, authorization="Bearer nobody")

    assert request.exit is not None
    assert request.exit[0] == 401


def test_an_unclear_dry_run_is_refused_before_anything_is_read(key_auth: Any, gateway: Gateway) -> None:
    request = ask(key_auth, gateway, body(), x_bursar_dry_run="yes")

    assert request.exit is not None
    assert request.exit[0] == 400
    assert "kong.request.get_raw_body" not in request.calls


def test_a_refusal_by_a_limit_tells_how_the_limits_stand(key_auth: Any, gateway: Gateway) -> None:
    gateway.publish(limits=(RPM,))
    assert ask(key_auth, gateway, body()).exit is None

    request = ask(key_auth, gateway, body())

    assert request.exit is not None
    status, _, headers = request.exit
    assert (status, headers["x-ratelimit-remaining-requests"]) == (429, "0")
    assert headers["ratelimit-policy"] == '"team-rpm";q=1;w=60'
    assert headers["ratelimit"].startswith('"team-rpm";r=0;t=')
    assert int(headers["retry-after"]) * 1000 >= int(headers["retry-after-ms"]) > 50_000


def test_a_refusal_by_what_the_organization_shares_tells_when_but_not_how_much(key_auth: Any, gateway: Gateway) -> None:
    shared = Limit(
        id="all", scope=Scope(kind="organization", subject=None), unit="requests", amount=1, window_ms=60_000
    )
    gateway.publish(limits=(shared,))
    assert ask(key_auth, gateway, body()).exit is None

    request = ask(key_auth, gateway, body())

    assert request.exit is not None
    status, error, headers = request.exit
    assert status == 429
    assert "organization limit of requests per minute" in error["error"]["message"]
    assert set(headers) == {"content-type", "x-should-retry", "retry-after", "retry-after-ms"}


def test_a_users_own_limit_counts_where_the_key_speaks_for_users(key_auth: Any, gateway: Gateway) -> None:
    gateway.publish(limits=(USERS,))
    _, speaking = gateway.new_key(speaks_for_users=True)
    bearer = f"Bearer {speaking}"

    assert ask(key_auth, gateway, body(user="alice"), authorization=bearer).exit is None
    refused = ask(key_auth, gateway, body(), authorization=bearer, x_user_id="alice")
    assert refused.exit is not None
    assert refused.exit[0] == 429
    assert ask(key_auth, gateway, body(), authorization=bearer, x_user_id="bob").exit is None
    assert ask(key_auth, gateway, body(), authorization=bearer).exit is None


def test_a_label_of_any_other_key_is_written_down_and_selects_nothing(key_auth: Any, gateway: Gateway) -> None:
    gateway.publish(limits=(USERS,))

    for _ in range(2):
        request = ask(key_auth, gateway, body(user="alice"))
        assert request.exit is None
        assert '"user":"alice"' in request.shared["llm_grant"]["meter"]


def test_two_names_for_the_user_are_refused_and_one_name_twice_is_not(key_auth: Any, gateway: Gateway) -> None:
    assert ask(key_auth, gateway, body(user="alice"), x_user_id="alice").exit is None

    request = ask(key_auth, gateway, body(user="alice"), x_user_id="bob")

    assert request.exit is not None
    status, error, _ = request.exit
    assert (status, error["error"]["param"]) == (400, "user")


def test_a_user_that_cannot_be_written_down_is_refused_where_it_would_select_limits(
    key_auth: Any, gateway: Gateway
) -> None:
    _, speaking = gateway.new_key(speaks_for_users=True)

    assert ask(key_auth, gateway, body(user="x" * 1000)).exit is None
    request = ask(key_auth, gateway, body(user="x" * 1000), authorization=f"Bearer {speaking}")

    assert request.exit is not None
    assert request.exit[0] == 400
