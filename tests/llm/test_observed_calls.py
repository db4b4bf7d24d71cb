"""Calls on a route that is only observed: none is refused, and each is in the ledger with what is known of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest

from kong_plugins.llm.attribution import ObservedRoute, attribute
from kong_plugins.llm.authentication import Authenticator
from kong_plugins.llm.metering import settle
from kong_plugins.llm.observation import Observation, Observer, RouteCalls
from kong_plugins.llm.outbox import Outbox
from kong_plugins.llm.protocols import path_in
from kong_plugins.llm.release import Budget, Limit, Scope
from kong_plugins.llm.requests import Caller
from kong_plugins.llm.store import Store
from tests.llm.cast import PRICE, deployment, policy
from tests.llm.gateway import BUDGET, PEPPER, Gateway, body, completion, finished
from tests.llm.kong import KongRequest, plugin
from tests.llm.multipart import CONTENT_TYPE, form, part, sound
from tests.llm.node import node_of
from tests.llm.proxy import LossyProxy
from tests.llm.test_openai_calls import by_piece

CALLS: Final = RouteCalls(protocol="openai_chat", provider="openai")
ASKED: Final = "gpt-4o-mini"
TEAM: Final = Scope(kind="team", subject=None)


class Watcher:
    """A gateway with a route that is only observed."""

    def __init__(self, gateway: Gateway, store: Store | None = None) -> None:
        self.gateway = gateway
        used = store or gateway.store
        self.observer = Observer(used, gateway.settings, outbox=Outbox(used, None))

    def caller(self, *, by: Any = None, consumer_name: str | None = None, query: str = "", **headers: str) -> Caller:
        named = {name.replace("_", "-"): [value] for name, value in headers.items()}
        route = ObservedRoute(organization=self.gateway.organization, by=by)
        return attribute(self.gateway.authenticator, named, route, query=query, consumer_name=consumer_name)

    def observe(self, data: bytes, caller: Caller | None = None, calls: RouteCalls = CALLS) -> Observation:
        return self.observer.observe(caller or self.caller(), data, calls)

    def ended(self, observation: Observation, data: bytes = b"", **changes: Any) -> Any:
        """The event of the call, once it has been answered."""
        settle(self.gateway.store, finished(observation, data, **changes))  # type: ignore[arg-type]
        [event] = self.gateway.events()
        return event


@pytest.fixture
def watcher(gateway: Gateway) -> Watcher:
    return Watcher(gateway)


def test_a_call_of_nobody_known_is_priced_as_any_other(watcher: Watcher) -> None:
    seen = watcher.observe(body(model=ASKED))

    event = watcher.ended(seen, completion(9, 20))

    assert (event.kind, event.outcome, event.quality) == ("posted", "completed", "exact")
    assert (event.team, event.key, event.request_model, event.provider) == (
        "unattributed",
        "unattributed",
        "mini",
        "openai",
    )
    assert (event.amount_nusd, event.hold_nusd) == (9 * 150 + 20 * 600, 0)
    assert (event.price_version, event.granted_max_tokens, event.shadow_refusals) == (PRICE.version, None, ())


def test_whose_call_it_is(watcher: Watcher) -> None:
    gateway = watcher.gateway
    key_id = gateway.key_record.id
    other_key = Gateway(gateway.store, f"{gateway.organization}-other").key
    bearer = f"Bearer {gateway.key}"
    for caller, team, key, user, refusal in (
        (watcher.caller(authorization=bearer, x_user_id="alice"), "search", key_id, "alice", None),
        (watcher.caller(authorization="Bearer sk-theirs", x_api_key=gateway.key), "search", key_id, None, None),
        (watcher.caller(query=f"key={gateway.key}"), "search", key_id, None, None),
        (watcher.caller(authorization=bearer, by="header", x_team="other"), "search", key_id, None, None),
        (watcher.caller(authorization="Bearer sk-theirs"), "unattributed", "unattributed", None, None),
        (watcher.caller(authorization=f"{bearer}x"), "unattributed", "unattributed", None, "invalid_api_key"),
        (watcher.caller(x_api_key=other_key), "unattributed", "unattributed", None, "invalid_api_key"),
        (watcher.caller(by="header", x_team="support"), "support", "unattributed", None, None),
        (watcher.caller(by="header", x_team="The Lab"), "unattributed", "unattributed", "The Lab", None),
        (watcher.caller(by="header"), "unattributed", "unattributed", None, None),
        (watcher.caller(by="consumer", consumer_name="support"), "support", "unattributed", None, None),
        (watcher.caller(x_team="support"), "unattributed", "unattributed", None, None),
    ):
        who = caller.principal
        assert (who.team, who.key, who.user, caller.would_be_refused) == (team, key, user, refusal)
        assert who.organization == gateway.organization


def test_only_a_stream_is_asked_for_its_usage_and_nothing_else_is_touched(watcher: Watcher) -> None:
    plain = watcher.observe(body(model=ASKED)).table()
    streamed = watcher.observe(body(model=ASKED, stream=True)).table()
    asking = watcher.observe(body(model=ASKED, stream=True, stream_options={"include_usage": True})).table()
    forbidden = watcher.observe(
        body(model=ASKED, stream=True),
        calls=RouteCalls(protocol="openai_chat", provider="openai", include_usage=False),
    ).table()

    assert streamed["splices"] == [[1, 0, '"stream_options":{"include_usage":true},']]
    assert streamed["strip_usage_chunk"] is True
    for table in (plain, asking, forbidden):
        assert (table["splices"], table["strip_usage_chunk"]) == ([], False)


@pytest.mark.parametrize(
    ("data", "headers", "model", "refusal"),
    [
        (b"no json", {}, "", "invalid_request"),
        (body(model=7), {}, "", "invalid_request: model"),
        (body(model=ASKED, web_search_options={}), {}, "mini", "invalid_request: web_search_options"),
        (body(model=ASKED, ü=1), {}, "mini", "invalid_request"),
        (body(model=ASKED), {"content_encoding": "gzip"}, "", "unsupported_encoding"),
        (body(model=ASKED), {"content_length": "99999999"}, "", "request_too_large"),
        (body(model="gpt-9"), {}, "gpt-9", "model_not_found"),
    ],
)
def test_what_a_governed_route_would_not_take_is_counted_without_a_price(
    watcher: Watcher, data: bytes, headers: dict[str, str], model: str, refusal: str
) -> None:
    event = watcher.ended(watcher.observe(data, watcher.caller(**headers)), completion(9, 20))

    assert (event.kind, event.quality, event.amount_nusd) == ("posted", "unpriced", None)
    assert (event.input_tokens, event.output_tokens) == (9, 20)
    assert (event.request_model, event.shadow_refusals, event.deployment) == (model, (refusal,), None)


def test_what_lies_in_the_providers_account_has_a_price_where_it_is_only_observed(watcher: Watcher) -> None:
    stored = {"type": "file", "file": {"file_id": "file_1"}}
    asked = body(model=ASKED, messages=[{"role": "user", "content": [stored]}])

    event = watcher.ended(watcher.observe(asked), completion(9, 20))

    assert (event.quality, event.shadow_refusals) == ("exact", ("invalid_request: messages",))


def test_what_rules_for_teams_and_budgets_would_say_is_told(watcher: Watcher) -> None:
    gateway = watcher.gateway
    bearer = {"authorization": f"Bearer {gateway.key}"}
    served = deployment(id="other", provider_model="gpt-4o")
    model = policy().models[0]
    gateway.publish(
        deployments=(deployment(price=None), served),
        models=(model, type(model)(**{**_fields(model), "name": "other", "deployments": ("other",)})),
        budgets=(BUDGET,),
    )
    gateway.set_cap(10**9)

    unpriced = watcher.ended(watcher.observe(body(model=ASKED), watcher.caller(**bearer)))
    forbidden = watcher.ended(watcher.observe(body(model="gpt-4o"), watcher.caller(**bearer)), completion())

    assert unpriced.shadow_refusals == forbidden.shadow_refusals == ("model_not_allowed",)
    assert (unpriced.amount_nusd, forbidden.quality) == (None, "exact")


def _fields(model: Any) -> dict[str, Any]:
    return {name: getattr(model, name) for name in model.__struct_fields__}


def test_limits_and_budgets_tell_what_they_would_refuse_and_hold_nothing(watcher: Watcher) -> None:
    gateway = watcher.gateway
    one = Limit(id="rpm", scope=TEAM, unit="requests", amount=1, window_ms=60_000, queue_ms=5000)
    gateway.publish(limits=(one,), budgets=(BUDGET,))
    period = gateway.set_cap(1)
    caller = watcher.caller(authorization=f"Bearer {gateway.key}")

    first = watcher.observe(body(model=ASKED), caller)
    state = gateway.store.budget_state(gateway.organization, BUDGET.id, "search", period)
    assert state is not None
    assert (state.spent, state.held) == (0, 0)
    spent = watcher.ended(first, completion(9, 20))
    second = watcher.ended(watcher.observe(body(model=ASKED), caller), completion(9, 20))

    assert spent.shadow_refusals == ("team monthly budget",)
    assert second.shadow_refusals == ("team limit of requests per minute", "team monthly budget")
    state = gateway.store.budget_state(gateway.organization, BUDGET.id, "search", period)
    assert state is not None
    assert (state.spent, state.held) == (2 * spent.amount_nusd, 0)


def test_who_is_no_team_falls_under_no_teams_rules(watcher: Watcher) -> None:
    each_key = Budget(id="k", scope=Scope(kind="key", subject=None), unit="nusd", period="month")
    everybody = Limit(
        id="all", scope=Scope(kind="organization", subject=None), unit="requests", amount=1, window_ms=60_000
    )
    watcher.gateway.publish(budgets=(BUDGET, each_key), limits=(everybody,))
    watcher.observe(body(model=ASKED))

    event = watcher.ended(watcher.observe(body(model=ASKED)), completion())

    assert event.shadow_refusals == ("organization limit of requests per minute",)


def test_a_virtual_key_that_is_not_in_force_would_be_refused(watcher: Watcher) -> None:
    caller = watcher.caller(x_api_key=f"{watcher.gateway.key[:-1]}_")

    assert watcher.ended(watcher.observe(body(model=ASKED), caller), completion()).shadow_refusals == (
        "invalid_api_key",
    )


def test_a_key_where_it_may_not_be_used_would_be_refused_and_is_known_all_the_same(watcher: Watcher) -> None:
    record, key = watcher.gateway.new_key(routes=("elsewhere",), generation=3)

    event = watcher.ended(watcher.observe(body(model=ASKED), watcher.caller(x_api_key=key)), completion())

    assert (event.key, event.key_generation) == (record.id, 3)
    assert event.shadow_refusals == ("route_not_allowed",)


def test_a_team_that_a_header_names_has_its_own_tier(watcher: Watcher) -> None:
    caller = watcher.caller(by="header", x_team="support")

    assert watcher.ended(watcher.observe(body(model=ASKED), caller), completion()).tier == "critical"


def test_an_answer_that_cannot_be_read_is_charged_at_the_most_that_it_can_cost(watcher: Watcher) -> None:
    seen = watcher.observe(body(model=ASKED, max_tokens=100))

    event = watcher.ended(seen, b"not what was expected")

    assert (event.quality, event.hold_nusd) == ("upper_bound", 0)
    assert event.amount_nusd == seen.meter.terms.cost_nusd
    assert event.amount_nusd is not None
    assert event.amount_nusd > 100 * 600


def test_what_a_plugin_of_kong_has_answered_cost_nothing(watcher: Watcher) -> None:
    event = watcher.ended(watcher.observe(body(model=ASKED)), source="exit", connected=False)

    assert (event.kind, event.outcome, event.amount_nusd) == ("voided", "not_sent", 0)


def test_without_redis_a_call_goes_on_and_is_counted_once_it_is_back(gateway: Gateway) -> None:
    away = Watcher(gateway, Store.from_url("redis://127.0.0.1:1", timeout_ms=50))

    seen = away.observe(body(model=ASKED, stream=True))
    event = away.ended(seen, completion(9, 20))

    assert seen.splices
    assert (event.quality, event.uncounted, event.release) == ("unpriced", True, 0)


def test_an_answer_of_redis_that_is_lost_loses_and_doubles_nothing(gateway: Gateway, redis_address: str) -> None:
    with LossyProxy(redis_address) as network:
        store = Store.from_url(network.url, timeout_ms=2000)
        watcher = Watcher(gateway, store)
        watcher.ended(watcher.observe(body(model=ASKED)), completion())
        network.answers_to_lose = 10

        event = watcher.ended(watcher.observe(body(model=ASKED)), completion(9, 20))

        assert (event.quality, event.amount_nusd, event.uncounted) == ("exact", 9 * 150 + 20 * 600, False)
        store.close()


def test_whose_key_it_is_may_be_unknown_while_redis_is_away(gateway: Gateway) -> None:
    away = Authenticator(Store.from_url("redis://127.0.0.1:1", timeout_ms=50), key_pepper=PEPPER)
    route = ObservedRoute(organization=gateway.organization)

    caller = attribute(away, {"x-api-key": [gateway.key]}, route)

    assert (caller.principal.team, caller.would_be_refused) == ("unattributed", None)


def test_a_newer_policy_counts_at_once(watcher: Watcher) -> None:
    watcher.ended(watcher.observe(body(model=ASKED)), completion())
    watcher.gateway.publish(deployments=(deployment(price=None),))

    assert watcher.ended(watcher.observe(body(model=ASKED)), completion()).quality == "unpriced"


@pytest.fixture
def plugins(gateway: Gateway, redis_address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Key-auth and rate-limit of an observed route."""
    with node_of(redis_address, monkeypatch):
        yield [
            plugin("llm-key-auth", mode="observe", organization=gateway.organization, attribute_by="consumer"),
            plugin("llm-rate-limit", protocol="openai_chat", mode="observe", provider="openai"),
        ]


def passed(plugins: list[Any], request: KongRequest) -> KongRequest:
    for each in plugins:
        request.run(each, "access")
    assert request.exit is None
    return request


def test_the_plugins_hand_over_what_they_have_seen(plugins: list[Any], gateway: Gateway) -> None:
    request = KongRequest(body(model=ASKED), authorization="Bearer sk-theirs")
    request.consumer = {"id": "c1", "username": "Support", "custom_id": "support"}

    passed(plugins, request)

    observation = request.shared["llm_observation"]
    assert set(observation) == {
        *("body_length", "body_crc32", "splices", "strip_usage_chunk", "answer_headers", "meter"),
    }
    assert '"team":"support"' in observation["meter"]
    assert "llm_grant" not in request.shared
    assert request.authenticated == []


def test_what_is_no_call_of_a_model_is_not_counted(plugins: list[Any], gateway: Gateway) -> None:
    assert "llm_observation" not in passed(plugins, KongRequest(b"")).shared
    assert "llm_observation" not in passed(plugins[1:], KongRequest(body(model=ASKED))).shared


def test_a_body_that_is_too_large_is_not_read(plugins: list[Any], gateway: Gateway) -> None:
    request = passed(plugins, KongRequest(body(model=ASKED), content_length="99999999"))

    assert "kong.request.get_raw_body" not in request.calls
    assert "request_too_large" in request.shared["llm_observation"]["meter"]


def test_a_route_that_belongs_to_nobody_says_so_in_kongs_log(plugins: list[Any], gateway: Gateway) -> None:
    nobodys = plugin("llm-key-auth", mode="observe")

    request = passed([nobodys, plugins[1]], KongRequest(body(model=ASKED)))

    assert "config.organization" in request.logged[0]
    assert "llm_observation" not in request.shared


def test_a_call_whose_client_is_gone_by_then_ends_at_once(plugins: list[Any], gateway: Gateway) -> None:
    class Gone(dict[str, Any]):
        def __setitem__(self, name: str, value: Any) -> None:
            if name == "llm_observation":
                raise SystemExit
            super().__setitem__(name, value)

    request = KongRequest(body(model=ASKED))
    request.shared = Gone()

    with pytest.raises(SystemExit):
        passed(plugins, request)

    [event] = gateway.events()
    assert (event.kind, event.outcome) == ("voided", "not_sent")


def test_a_path_may_begin_with_something_of_the_gateways(gateway: Gateway) -> None:
    assert path_in("/team-a/v1beta/models/m:generateContent", "gemini") == "/v1beta/models/m:generateContent"
    assert path_in("/v1beta/models/m:generateContent", "gemini") == "/v1beta/models/m:generateContent"
    assert path_in("/other", "gemini") == "/other"


def test_a_form_is_read_as_it_is_and_left_so(watcher: Watcher) -> None:
    name, price = "openai_transcriptions", by_piece(second=100_000_000_000)
    watcher.gateway.publish(deployments=(deployment(protocol=name, price=price),))
    data = form(part("model", ASKED), part("file", sound(12), filename="call.wav"))
    calls = RouteCalls(protocol=name, provider="openai")
    caller = watcher.caller(content_type=CONTENT_TYPE)

    seen = watcher.observer.observe(caller, data, calls, asked_at="/ours/v1/audio/transcriptions?api-version=1")
    event = watcher.ended(seen, b'{"text":"Hello","usage":{"type":"duration","seconds":12}}')

    assert (seen.splices, event.amount_nusd, event.quality) == ((), 12 * 100_000, "exact")
    assert (event.request_model, event.units) == ("mini", {"second": 12})
    unread = watcher.observer.observe(caller, data + b"x", calls, asked_at="/v1/audio/transcriptions")
    assert unread.meter.facts.shadow_refusals == ("invalid_request",)
