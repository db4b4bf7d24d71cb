"""The price book: prices that come into effect by themselves, prices of every kind, and what is taken off them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import pytest
from django.core.exceptions import ValidationError
from django.test import Client

from control_plane.catalog.models import Deployment, Discount, Price
from control_plane.catalog.price_book import charged_at, set_discount, set_price
from kong_plugins.llm import prices
from tests.control_plane.cast import PRICE, Api, post, shown_errors

DEARER: Final[dict[str, Any]] = {"input_nusd": 2_000, "cache_read_nusd": 1, "cache_write_nusd": 2, "output_nusd": 8}
SOON: Final = datetime(2100, 1, 1, tzinfo=UTC)
SOON_MS: Final = int(SOON.timestamp()) * 1000
MANY_KINDS: Final[dict[str, Any]] = PRICE | {
    "cache_write_1h_usd_per_mtok": None,
    "input_audio_usd_per_mtok": "40.00",
    "usd_per_piece": {"web_search": "0.01", "image:high": "0.167"},
    "variants": [
        {
            **PRICE,
            "cache_write_1h_usd_per_mtok": None,
            "input_usd_per_mtok": "0.30",
            "service_tier": "priority",
            "above_input_tokens": 0,
        },
        {
            **PRICE,
            "cache_write_1h_usd_per_mtok": None,
            "output_usd_per_mtok": "0.10",
            "service_tier": "standard",
            "above_input_tokens": 0,
            "from_time": "16:30",
            "until_time": "00:30",
        },
    ],
}


def published(api: Api) -> Any:
    [deployment] = api.policy().deployments
    return deployment


def test_a_price_of_the_future_is_at_every_gateway_before_its_instant(api: Api) -> None:
    deployment = api.deployment()
    before = published(api).price

    row = api.create(
        "prices",
        deployment=deployment["id"],
        price=PRICE | {"output_usd_per_mtok": "9.00"},
        effective_from="2100-01-01T00:00:00Z",
    )

    found = published(api)
    assert found.price == before
    [later] = found.later_prices
    assert (later.from_ms, later.price.version, later.price.output_nusd) == (SOON_MS, str(row["id"]), 9 * 10**9)
    assert found.price_at(SOON_MS - 1) == before
    assert found.price_at(SOON_MS) == later.price
    assert [each["id"] for each in api.get(f"prices?deployment={deployment['id']}")["results"]] == [
        int(before.version),
        row["id"],
    ]
    assert row["source"] == "manual"


def test_an_instant_within_a_millisecond_begins_with_the_next_one(api: Api) -> None:
    set_price(api.deployment()["id"], DEARER, actor="alice", effective_from=SOON + timedelta(microseconds=1))

    [later] = published(api).later_prices
    assert later.from_ms == SOON_MS + 1


def test_a_price_of_many_kinds_reads_back_as_it_was_given_and_reaches_the_gateways(api: Api) -> None:
    created = api.deployment(price=MANY_KINDS)

    assert created["price"] == MANY_KINDS
    price = published(api).price
    assert (price.input_audio_nusd, price.unit_nusd) == (40 * 10**9, {"web_search": 10**13, "image:high": 167 * 10**12})
    assert price.rates("priority", 1).input_nusd == 300_000_000
    noon_ms, night_ms = 12 * 3_600_000, 17 * 3_600_000
    outputs = [published(api).price_at(at_ms).output_nusd for at_ms in (noon_ms, night_ms)]
    assert outputs == [600_000_000, 100_000_000]
    # The same again is no new row.
    api.change(f"deployments/{created['id']}", price=MANY_KINDS)
    assert Price.objects.count() == 1


def test_what_a_call_costs_may_be_nothing(api: Api) -> None:
    api.deployment(price=dict.fromkeys(PRICE, "0"))

    assert published(api).price.output_nusd == 0


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"usd_per_piece": {"Web search": "1"}}, "price"),
        ({"usd_per_piece": {"web_search": 1}}, "price"),
        ({"usd_per_piece": {"web_search": "-1"}}, "price"),
        ({"usd_per_piece": {"web_search": "NaN"}}, "price"),
        ({"usd_per_piece": {"web_search": "0.0000000000000001"}}, "price"),
        ({"usd_per_piece": {"image": "1e999999"}}, "price"),
        ({"usd_per_piece": {"image": "٣"}}, "price"),
        ({"usd_per_piece": {"image": "123456789012345.123456789012345"}}, "price"),
        ({"usd_per_piece": {"image": "1001"}}, "price"),
        ({"input_usd_per_mtok": "٣"}, "price"),
        ({"input_usd_per_mtok": "1_0"}, "price"),
        ({"variants": [{**PRICE}]}, "price"),
        ({"variants": [{**PRICE, "from_time": "24:00", "until_time": "01:00"}]}, "price"),
        ({"variants": [{**PRICE, "service_tier": "Priority"}]}, "price"),
        ({"variants": [{"service_tier": "priority"}]}, "price"),
        ({"input_audio_usd_per_mtok": "-1"}, "price"),
        ({"input_audio_usd_per_mtok": "1000000001"}, "price"),
        ({"input_smell_usd_per_mtok": "1"}, "price"),
    ],
)
def test_a_price_that_cannot_be_is_refused(api: Api, change: dict[str, Any], field: str) -> None:
    api.model()
    api.provider()
    body = {"model": "gpt-4o-mini", "provider": "openai", "provider_model": "x", "price": PRICE | change}

    refused = {(name or "").split(".")[0] for name in api.refused_fields("POST", "deployments", body)}

    assert refused == {field}
    assert Deployment.objects.count() == 0


def test_the_narrowest_discount_counts_and_each_takes_effect_at_its_instant(api: Api) -> None:
    deployment = api.deployment()
    api.create("discounts", percent="10")
    assert published(api).price.input_nusd == 135_000_000
    on_provider = api.create("discounts", provider="openai", percent="20", effective_from="2100-01-01T00:00:00Z")
    own = api.create("discounts", deployment=deployment["id"], percent="0", effective_from="2100-01-02T00:00:00Z")

    found = published(api)

    assert [later.price.input_nusd for later in found.later_prices] == [120_000_000, 150_000_000]
    [row] = Price.objects.all()
    assert found.later_prices[0].price.version == f"{row.pk}-{on_provider['id']}"
    assert found.later_prices[1].price.version == row.version
    assert [each["percent"] for each in api.get("discounts")["results"]] == ["10.00", "20.00", own["percent"]]
    assert api.get("discounts?provider=openai")["results"] == [on_provider]


def test_a_discount_is_taken_off_every_rate_and_rounded_up(api: Api) -> None:
    deployment = api.deployment(price=MANY_KINDS)
    set_price(deployment["id"], {**DEARER, "output_nusd": 7, "unit_nusd": {"image": 9}}, actor="alice")
    discount = set_discount(organization_id=api.organization.pk, percent=Decimal("12.5"), actor="alice")
    row = Deployment.objects.select_related("model").get()

    price = charged_at(row, [discount], SOON)

    assert price is not None
    assert (price.input_nusd, price.output_nusd, price.unit_nusd) == (1_750, 7, {"image": 8})
    assert discount.basis_points == 1_250


def test_the_variants_of_a_price_are_discounted_too(api: Api) -> None:
    api.deployment(price=MANY_KINDS)
    api.create("discounts", percent="50")

    price = published(api).price

    assert price.rates("priority", 1).input_nusd == 150_000_000
    assert (price.input_audio_nusd, price.unit_nusd["web_search"]) == (20 * 10**9, 5 * 10**12)


def test_a_discount_stays_within_its_organization_and_its_bounds(api: Api) -> None:
    api.deployment()
    row = Deployment.objects.get()

    for fields in ({"percent": "100.01"}, {"percent": "-1"}, {"percent": "5", "provider": "unknown"}):
        api.refused_fields("POST", "discounts", fields)
    assert api.refused_fields("POST", "discounts", {"percent": "5", "provider": "openai", "deployment": row.pk})
    for scope in ({"provider": row.provider}, {"deployment": row}):
        with pytest.raises(ValidationError):
            set_discount(organization_id=api.organization.pk + 1, percent=Decimal(5), actor="alice", **scope)
    assert Discount.objects.count() == 0


@pytest.mark.parametrize("instant", ["0001-01-01T00:00:00Z", "1999-12-31T23:59:59Z", "9999-12-31T00:00:00Z"])
def test_a_year_that_is_an_entry_error_is_refused(api: Api, instant: str) -> None:
    deployment = api.deployment()["id"]

    for kind, fields in {"prices": {"deployment": deployment, "price": PRICE}, "discounts": {"percent": "5"}}.items():
        body = fields | {"effective_from": instant}
        assert api.refused_fields("POST", kind, body) == {"effective_from"}, kind
    assert Price.objects.count() == 1


def test_a_piece_that_is_too_dear_is_not_called_a_token(api: Api) -> None:
    price = PRICE | {"usd_per_piece": {"image": "1001"}}

    answer = api.call("POST", "prices", {"deployment": api.deployment()["id"], "price": price})

    assert "more than a thousand dollars for one piece" in answer.json()["detail"]


def price_fields(**changes: str) -> dict[str, str]:
    usual = {"provider_model": "gpt-4o-mini", "protocol": "openai_chat", "order": "0", "active": "on", "weight": "1"}
    prices_usd = {"input_nusd": "2", "cache_read_nusd": "0.5", "cache_write_nusd": "2", "output_nusd": "8"}
    inline = {"prices-TOTAL_FORMS": "0", "prices-INITIAL_FORMS": "0"}
    return usual | prices_usd | inline | {"effective_from_0": "", "effective_from_1": ""} | changes


def test_a_price_of_many_kinds_is_written_in_the_admin_line_by_line(api: Api, pages: Client) -> None:
    path = f"/admin/catalog/deployment/{api.deployment()['id']}/change/"
    lines = ["output_audio 64", "each web_search 0.01", "priority: output 20", "priority above 1000: input 5"]

    post(pages, path, price_fields(further="\n".join(lines)))
    price: prices.Price = published(api).price

    assert (price.output_audio_nusd, price.unit_nusd) == (64 * 10**9, {"web_search": 10**13})
    assert (price.rates("priority", 1).output_nusd, price.rates("priority", 1).input_nusd) == (20 * 10**9, 2 * 10**9)
    assert price.rates("priority", 1001).input_nusd == 5 * 10**9
    assert "priority above 1000: input 5.00" in pages.get(path).content.decode()
    [newest, _] = Price.objects.all()
    assert "priority: output 20.00" in pages.get(f"/admin/catalog/price/{newest.pk}/change/").content.decode()


def test_the_admin_says_which_line_of_a_price_it_does_not_understand(api: Api, pages: Client) -> None:
    path = f"/admin/catalog/deployment/{api.deployment()['id']}/change/"

    for line in ("outptu 3", "above 5: output", "standard: input 3"):
        assert "errorlist" in shown_errors(pages, path, price_fields(further=line))
    assert "every kind of token" in shown_errors(pages, path, price_fields(further="reasoning 3", input_nusd=""))
    assert Price.objects.count() == 1


def test_a_price_and_a_discount_of_the_future_are_set_in_the_admin(api: Api, pages: Client) -> None:
    path = f"/admin/catalog/deployment/{api.deployment()['id']}/change/"

    post(pages, path, price_fields(effective_from_0="2100-01-01", effective_from_1="00:00:00"))
    post(
        pages,
        "/admin/catalog/discount/add/",
        {
            "organization": str(api.organization.pk),
            "percent": "25",
            "effective_from_0": "2100-01-01",
            "effective_from_1": "00:00:00",
        },
    )

    [later] = published(api).later_prices
    assert (later.from_ms, later.price.input_nusd) == (SOON_MS, 1_500_000_000)
    assert "25.00" in pages.get("/admin/catalog/discount/").content.decode()
