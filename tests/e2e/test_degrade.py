"""Lesser models as clients meet them: served before the budget is used up, told of, and paid for at their own price."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest

from tests.e2e.system import PROVIDER_MODEL, System, Team, eventually

MAX_TOKENS: Final = 300
DEAR_PRICE: Final = {
    "input_usd_per_mtok": "2.50",
    "cache_read_usd_per_mtok": "1.25",
    "cache_write_usd_per_mtok": "2.50",
    "output_usd_per_mtok": "10.00",
}


@pytest.fixture
def dear(system: System) -> Team:
    """A team whose calls ask for a dear model, that degrades to its own model from 80 % of the budget on."""
    team = system.new_team("degrade")
    dear_model = f"{team.slug}-large"
    system.create(
        "models",
        name=dear_model,
        context_window_tokens=128_000,
        max_output_tokens=4096,
        default_output_tokens=1024,
        degrade_to=[team.model],
    )
    system.create("deployments", model=dear_model, provider=team.slug, provider_model="gpt-4o", price=DEAR_PRICE)
    system.change(f"/api/v1/teams/{team.slug}", models=[dear_model, team.model])
    system.change(f"/api/v1/budgets/{team.budget_id}", degrade_at_percent=80)
    team.behave(output_tokens=MAX_TOKENS)
    return replace(team, model=dear_model)


def spend_80_percent(team: Team) -> None:
    """One call of the dear model, and a cap of which that is 80 %."""
    answer = team.post(team.request(max_tokens=MAX_TOKENS))
    assert answer.status_code == 200, answer.text
    assert "x-bursar-degraded-from" not in answer.headers
    [spent] = eventually(team.spent_in_ledger, within_s=20, what="the dear call in the ledger")
    eventually(lambda: team.budget()["state"]["held"] == 0, within_s=20, what="its hold is gone")
    team.set_cap_nusd(spent["amount_nusd"] * 100 // 80)


def test_from_80_percent_of_the_budget_on_the_lesser_model_serves(dear: Team) -> None:
    spend_80_percent(dear)

    answer = dear.post(dear.request(max_tokens=MAX_TOKENS))

    assert answer.status_code == 200, answer.text
    assert answer.headers["x-bursar-degraded-from"] == dear.model
    assert answer.headers["x-bursar-model"].endswith(f"/{PROVIDER_MODEL}")
    assert answer.json()["model"].startswith(PROVIDER_MODEL)
    rows = eventually(
        lambda: [row for row in dear.spent_in_ledger() if row["degraded_from"]], within_s=20, what="it in the ledger"
    )
    [row] = rows
    assert (row["request_model"], row["degraded_from"]) == (dear.slug, dear.model)
    assert row["candidates"][0].endswith(": team monthly budget")
    assert len(row["candidates"]) == 2
    assert row["amount_nusd"] == dear.books()[-1]["amount_nusd"]


def test_who_insists_on_the_model_gets_it_or_nothing(dear: Team) -> None:
    spend_80_percent(dear)
    insisting = {"x-bursar-degrade": "0"}

    refused = dear.post(dear.request(max_tokens=MAX_TOKENS), **insisting)
    served = dear.post(dear.request(max_tokens=20), **insisting)

    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "insufficient_quota")
    assert served.status_code == 200
    assert "x-bursar-degraded-from" not in served.headers


def test_a_stream_is_served_by_the_lesser_model_too(dear: Team) -> None:
    spend_80_percent(dear)

    with dear.sdk().chat.completions.with_streaming_response.create(
        model=dear.model, messages=[{"role": "user", "content": "Hello there"}], max_tokens=MAX_TOKENS, stream=True
    ) as answer:
        assert answer.headers["x-bursar-degraded-from"] == dear.model
        answer.read()


def test_unclear_wishes_are_refused(dear: Team) -> None:
    for unclear in ({"x-bursar-degrade": "no"}, {"x-bursar-max-wait-ms": "1s"}):
        answer = dear.post(dear.request(), **unclear)
        [name] = unclear
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, name)
    assert dear.books() == []
