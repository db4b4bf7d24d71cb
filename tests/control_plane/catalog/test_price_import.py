"""List prices are shown first and applied on request, with their source and dates; what is set by hand stays."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import partial
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from control_plane.catalog.listed_prices import SOURCE, listed_prices
from control_plane.catalog.models import Deployment, Price
from control_plane.catalog.price_book import add_row
from control_plane.catalog.price_import import apply, look_up
from control_plane.teams.models import User
from tests.control_plane.cast import PRICE, Api, all_at_once


def deployed(api: Api, provider_model: str = "o3", *, name: str = "o3", price: Any = None) -> Deployment:
    """A model at OpenAI's own address."""
    if not api.get("providers")["results"]:
        api.create("providers", name="openai", base_url="https://api.openai.com/v1", credential="sk-provider")
    api.model(name)
    created = api.create("deployments", model=name, provider="openai", provider_model=provider_model, price=price)
    return Deployment.objects.get(pk=created["id"])


def page_of_list_prices(pages: Client) -> str:
    """The address to which the price book's button leads."""
    found = re.search(r'href="([^"]*import[^"]*)"', pages.get("/admin/catalog/price/").content.decode())
    assert found is not None
    return found[1]


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("import_prices", *arguments, stdout=out)
    return out.getvalue()


def test_a_deployment_without_a_price_gets_the_listed_one_with_its_history(api: Api) -> None:
    deployment = deployed(api)

    shown = run()
    assert "from 2025-06-10:" in shown
    assert "    - input 10.00\n" in shown
    assert "    + input 2.00\n" in shown
    assert "4 rows to add to the price book" in shown
    assert Price.objects.count() == 0
    assert "4 rows added to the price book" in run("--apply")

    rows = list(Price.objects.filter(deployment=deployment))
    assert [f"{row.effective_from:%Y-%m-%d}" for row in rows] == [
        "2026-10-14",
        "2026-10-12",
        "2025-06-10",
        "2000-01-01",
    ]
    assert {(row.source, row.created_by) for row in rows} == {(SOURCE, "import_prices")}
    [published] = api.policy().deployments
    assert published.price is not None
    assert published.price.version == str(rows[0].pk)
    assert published.price.rates("flex", 1).input_nusd == 10**9
    assert "0 rows" in run("--apply")


def test_a_price_that_was_set_by_hand_stays_unless_it_is_to_be_replaced(api: Api) -> None:
    deployed(api, price=PRICE)

    assert "set by hand, and stays" in run("--apply")
    assert Price.objects.count() == 1
    assert "1 rows added" in run("--apply", "--replace-manual")

    newest = Price.objects.first()
    assert newest is not None
    assert (newest.input_nusd, newest.source) == (2 * 10**9, SOURCE)
    assert timezone.now() - newest.effective_from < timedelta(minutes=5)


@pytest.mark.parametrize("in_force_is_manual", [True, False])
def test_a_price_set_by_hand_stays_beside_a_listed_one_of_the_future_and_before_its_own_day(
    api: Api, in_force_is_manual: bool
) -> None:
    deployment = deployed(api)
    listed = listed_prices("openai", "o3")[-1].amounts
    for year, is_manual in ((2026, in_force_is_manual), (2100, not in_force_is_manual), (2101, False)):
        add_row(
            deployment,
            listed | {"input_nusd": year},
            effective_from=datetime(year, 1, 1, tzinfo=UTC),
            actor="alice",
            source=Price.MANUAL if is_manual else SOURCE,
        )

    assert "set by hand, and stays" in run("--apply")
    assert Price.objects.count() == 3
    assert "rows added" in run("--apply", "--replace-manual")


def test_what_two_approve_at_once_is_in_the_book_once(api: Api) -> None:
    deployed(api)
    now = timezone.now()
    findings = look_up(api.organization.pk, now=now)

    added = all_at_once([partial(apply, api.organization.pk, findings, actor="alice", now=now)] * 2)

    assert sorted(added) == [0, 4]
    assert Price.objects.count() == 4


def test_only_the_chosen_organization_and_deployments_are_looked_up(api: Api) -> None:
    deployed(api)
    other = deployed(api, "gpt-4o", name="gpt-4o")

    assert "o3" not in run("--organization", api.organization.slug, "--deployment", str(other.pk), "--apply")
    assert set(Price.objects.values_list("deployment", flat=True)) == {other.pk}
    with pytest.raises(CommandError, match="no organization"):
        run("--organization", "nobody")


@pytest.mark.parametrize(
    ("book", "proposed"),
    [
        # The list has a date that the book does not know of yet.
        ([("2025-07-01", 1)], ["from 2026-10-14"]),
        # The book is newer than any date of the list: the change has none, and begins now.
        ([("2026-11-01", 1)], ["from now on"]),
        ([("2026-11-01", None)], []),
        # What the book says of the future, the list does not know any more.
        ([("2026-11-01", None), ("2100-01-01", 1)], ["from 2100-01-01"]),
    ],
)
def test_a_book_that_the_list_has_overtaken_is_brought_up_to_it(
    api: Api, book: list[tuple[str, int | None]], proposed: list[str]
) -> None:
    deployment = deployed(api)
    listed = listed_prices("openai", "o3")[-1].amounts
    for day, input_nusd in book:
        add_row(
            deployment,
            listed | ({"input_nusd": input_nusd} if input_nusd else {}),
            effective_from=datetime.fromisoformat(day).replace(tzinfo=UTC),
            actor="alice",
            source="genai-prices 0.1.0",
        )

    [finding] = look_up(api.organization.pk, now=datetime(2026, 11, 20, tzinfo=UTC))

    assert [proposal.when for proposal in finding.proposals] == proposed


def test_what_the_list_knows_of_the_future_is_in_the_book_at_once(api: Api) -> None:
    deployed(api)

    [finding] = look_up(api.organization.pk, now=datetime(2025, 6, 1, tzinfo=UTC))
    add_row(
        finding.deployment,
        finding.proposals[0].amounts,
        effective_from=datetime(2025, 1, 1, tzinfo=UTC),
        actor="alice",
        source=SOURCE,
    )
    [again] = look_up(api.organization.pk, now=datetime(2025, 6, 1, tzinfo=UTC))

    assert [each.when for each in again.proposals] == ["from 2025-06-10", "from 2026-10-12", "from 2026-10-14"]


def test_a_deployment_with_a_name_of_its_own_is_priced_as_the_model_that_clients_ask_for(api: Api) -> None:
    deployed(api, "our-very-own", name="gpt-4o")
    deployed(api, "unheard-of", name="unheard-of-too")

    own, unknown = look_up(api.organization.pk, now=timezone.now())

    assert own.proposals[-1].amounts["output_nusd"] == 10 * 10**9
    assert (unknown.proposals, unknown.remark) == ((), "unheard-of is not among the list prices of openai.")


def test_a_provider_that_nobody_lists_has_no_list_prices(api: Api) -> None:
    api.deployment()

    [finding] = look_up(api.organization.pk, now=timezone.now())

    assert finding.remark == "There are no list prices for its provider."


def test_in_the_admin_the_chosen_ones_are_approved(api: Api, pages: Client) -> None:
    deployed(api)
    other = deployed(api, "gpt-4o", name="gpt-4o")

    address = page_of_list_prices(pages)
    page = pages.get(address).content.decode()
    assert "+ input 2.50" in page
    fingerprints = re.findall(r'name="chosen" value="([0-9a-f]{64})"', page)
    assert len(fingerprints) == 2
    answer = pages.post(address, {"chosen": [fingerprints[0], "0" * 64]}, follow=True).content.decode()

    assert "1 of the choices have changed meanwhile" in answer
    assert "Its price is that of the list." in answer
    assert set(Price.objects.values_list("deployment", "created_by")) == {(other.pk, "alice")}


def test_who_may_not_add_prices_is_not_shown_the_list(api: Api, pages: Client) -> None:
    address = page_of_list_prices(pages)
    User.objects.filter(pk=api.user.pk).update(is_superuser=False)

    assert pages.get(address, follow=True).status_code == 403
