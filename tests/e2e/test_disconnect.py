"""A client that leaves in the middle pays for what the provider sent, and its hold is gone."""

from __future__ import annotations

import httpx

from tests.e2e.system import System, eventually


def test_a_client_that_leaves_mid_stream_is_charged_at_least_what_was_sent_and_at_most_its_hold(system: System) -> None:
    team = system.new_team("leaver")
    team.behave(token_ms=20, output_tokens=400)
    url = f"{system.gateway}/v1/chat/completions"
    body = team.request(max_tokens=400, stream=True)

    with httpx.stream("POST", url, json=body, headers={"authorization": f"Bearer {team.key}"}, timeout=30) as answer:
        lines = (line for line in answer.iter_lines() if line.startswith("data:"))
        for _ in range(12):
            next(lines)

    [row] = eventually(team.spent_in_ledger, within_s=10, what="the broken-off call in the ledger")
    [billed] = team.books()
    assert row["quality"] == "partial"
    assert 11 <= billed["output_tokens"] < 400, "the first event only names the role"
    assert billed["amount_nusd"] <= row["amount_nusd"] <= row["hold_nusd"]
    assert row["amount_nusd"] < row["hold_nusd"] / 2, "a short stream must not cost its whole hold"
    assert team.budget()["state"]["held"] == 0
