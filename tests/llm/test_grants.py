"""A grant says everything that the guard and the meter need, and no more than its money pays for."""

from __future__ import annotations

import zlib

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kong_plugins.llm.grants import Meter, Terms, response_headers, upstream_of
from kong_plugins.llm.prices import Price
from tests.llm.cast import PRICE, PROVIDER_KEY, deployment
from tests.llm.gateway import Gateway, body


def test_the_guard_gets_the_target_the_credential_and_the_very_body(gateway: Gateway) -> None:
    table = gateway.admit(max_tokens=50).table()

    assert (table["scheme"], table["host"], table["port"]) == ("https", "api.example.com", 443)
    assert (table["path"], table["query"]) == ("/v1/chat/completions", "")
    assert table["set_headers"] == {
        "authorization": f"Bearer {PROVIDER_KEY}",
        "accept-encoding": "identity",
        "x-client-request-id": table["id"],
    }
    assert table["body_length"] == len(body(max_tokens=50))
    assert table["body_crc32"] == zlib.crc32(body(max_tokens=50))
    assert table["splices"] == [[body().index(b'"mini"'), len('"mini"'), '"gpt-4o-mini"']]
    assert table["deadline_ms"] == gateway.settings.deadline_ms
    assert msgpack.unpackb(msgpack.packb(table)) == table


def test_the_meter_gets_back_exactly_what_was_given_out(gateway: Gateway) -> None:
    grant = gateway.admit()

    text = grant.table()["meter"]

    assert isinstance(text, str)
    assert msgspec.json.decode(text, type=Meter) == grant.meter
    assert PROVIDER_KEY not in text


@pytest.mark.parametrize(
    ("members", "strip"),
    [
        ({}, False),
        ({"stream": True}, True),
        ({"stream": True, "stream_options": {"include_usage": True}}, False),
    ],
)
def test_only_a_client_that_did_not_ask_for_it_is_spared_the_usage_chunk(
    gateway: Gateway, members: dict[str, object], strip: bool
) -> None:
    assert gateway.admit(**members).table()["strip_usage_chunk"] is strip


@pytest.mark.parametrize(
    ("base_url", "parts"),
    [
        ("https://api.example.com/v1", ("https", "api.example.com", 443, "/v1", "")),
        ("http://127.0.0.1:9100/v1/", ("http", "127.0.0.1", 9100, "/v1/", "")),
        ("http://[::1]:80", ("http", "::1", 80, "", "")),
        ("https://x.test/deployments/{model}?v=1", ("https", "x.test", 443, "/deployments/org%2Fmini%3F", "v=1")),
    ],
)
def test_a_base_url_is_taken_apart(base_url: str, parts: tuple[str, str, int, str, str]) -> None:
    assert msgspec.structs.astuple(upstream_of(base_url, "org/mini?")) == parts


@pytest.mark.parametrize("base_url", ["ftp://x", "api.example.com", "https://", ""])
def test_a_base_url_that_leads_nowhere_is_refused(base_url: str) -> None:
    with pytest.raises(ValueError, match="base URL"):
        upstream_of(base_url, "mini")


@given(st.integers(0, 10**6), st.integers(1, 10**5), st.integers(1, 8), st.integers(0, 10**9), st.integers(0, 10**9))
def test_what_a_partial_grant_allows_costs_no_more_than_the_grant(
    input_tokens: int, max_tokens: int, choices: int, output_nusd: int, amount_nusd: int
) -> None:
    price = Price(version="v", input_nusd=10**6, cache_read_nusd=0, cache_write_nusd=2 * 10**6, output_nusd=output_nusd)
    terms = Terms(input_bound_tokens=input_tokens, max_tokens=max_tokens, choices=choices, price=price)

    partial = terms.within(amount_nusd)

    assert partial.max_tokens <= max_tokens
    if partial.max_tokens > 0 and terms.worst_cost_nusd(0) <= amount_nusd:
        assert partial.cost_nusd is not None
        assert partial.cost_nusd <= amount_nusd
    assert terms.within(terms.cost_nusd or 0) == terms


def test_terms_without_a_price_have_no_cost_and_no_bound_by_money() -> None:
    terms = Terms(input_bound_tokens=10, max_tokens=20, choices=2, price=None)

    assert (terms.tokens, terms.cost_nusd, terms.worst_cost_nusd(5)) == (50, None, 0)
    assert terms.within(0) == terms


def test_the_client_learns_its_request_the_model_and_how_its_limits_stand(gateway: Gateway) -> None:
    facts = gateway.admit().meter.facts
    terms = Terms(input_bound_tokens=10, max_tokens=77, choices=1, price=PRICE)

    assert response_headers(facts, deployment(), terms, {"ratelimit": "as told"}) == {
        "x-bursar-request-id": facts.request_id,
        "x-bursar-model": "openai/gpt-4o-mini",
        "x-bursar-max-tokens": "77",
        "ratelimit": "as told",
    }
