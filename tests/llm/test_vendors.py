"""The rows of vendors say enough, and nothing that cannot be."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from genai_prices.data import providers

from kong_plugins.llm.grants import upstream_of
from kong_plugins.llm.vendors import CREDENTIAL_KINDS, CUSTOM, KEY_HEADERS, VENDORS, Vendor

named = pytest.mark.parametrize("vendor", VENDORS.values(), ids=VENDORS)


@named
def test_each_address_is_one_that_a_call_can_go_to(vendor: Vendor) -> None:
    for served in (*vendor.formats.values(), *filter(None, [vendor.otherwise])):
        address = served.base_url.replace("{region}", "eu-central-1")
        upstream = upstream_of(address, "model")
        assert upstream.scheme == "https" or vendor.region == "own"
        assert not address.endswith("/")
        assert ("{region}" in served.base_url) == (vendor.region == "deployment")


@named
def test_each_row_is_complete(vendor: Vendor) -> None:
    assert vendor.title
    assert vendor.docs == "" or urlsplit(vendor.docs).scheme == "https"
    assert set(vendor.credentials) <= set(CREDENTIAL_KINDS)
    assert vendor.credentials
    headers = {served.key_header for served in vendor.formats.values()}
    assert headers <= set(KEY_HEADERS)


def test_prices_are_those_of_a_provider_that_the_price_data_know() -> None:
    known = {provider.id for provider in providers}

    assert {vendor.prices for vendor in VENDORS.values()} - {None} <= known
    assert {name for name, vendor in VENDORS.items() if vendor.prices is None} == {"vllm", "ollama", CUSTOM}


def test_the_same_key_goes_where_each_format_of_a_vendor_wants_it() -> None:
    anthropic, google, bedrock, custom = (VENDORS[name] for name in ("anthropic", "google", "bedrock", CUSTOM))

    assert anthropic.authentication("anthropic_messages", "api_key") == "x-api-key"
    assert anthropic.authentication("openai_chat", "api_key") == "bearer"
    assert google.authentication("gemini", "api_key") == "x-goog-api-key"
    assert google.authentication("cohere_chat", "api_key") is None
    assert bedrock.authentication("bedrock_converse", "api_key") == "bearer"
    assert bedrock.authentication("bedrock_converse", "aws_sigv4") == "aws_sigv4"
    assert custom.authentication("gemini", "api_key") is None
    assert custom.authentication("gemini", "none") == "none"


def test_where_a_customer_has_an_address_of_his_own_there_is_only_an_example() -> None:
    examples = {
        name
        for name, vendor in VENDORS.items()
        for served in (*vendor.formats.values(), *filter(None, [vendor.otherwise]))
        if served.is_example
    }

    assert examples == {"azure", "vertex", "vllm", CUSTOM}
