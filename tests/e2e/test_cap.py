"""A hard cap under a crowd: never exceeded, and used up as far as holds allow."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.e2e.system import System, eventually

OUTPUT_TOKENS = 400
REQUESTS = 128
CONCURRENCY = 64


def test_128_requests_at_once_never_exceed_a_cap_of_eight_calls(system: System) -> None:
    team = system.new_team("crowd")
    team.behave(output_tokens="max", first_token_ms=200)
    body = team.request(max_tokens=OUTPUT_TOKENS)
    team.post(body).raise_for_status()
    [first] = eventually(team.spent_in_ledger, within_s=5, what="the first call in the ledger")
    true_cost_nusd = team.books()[0]["amount_nusd"]
    assert first["hold_nusd"] < true_cost_nusd * 11 // 10
    cap_nusd = 8 * true_cost_nusd
    team.set_cap_nusd(true_cost_nusd + cap_nusd)

    with ThreadPoolExecutor(CONCURRENCY) as crowd:
        statuses = list(crowd.map(lambda _: team.post(body).status_code, range(REQUESTS)))

    crowd_calls = team.books()[1:]
    assert 6 <= len(crowd_calls) <= 8
    assert sum(call["amount_nusd"] for call in crowd_calls) <= cap_nusd
    assert statuses.count(200) == len(crowd_calls)
    assert statuses.count(429) == REQUESTS - len(crowd_calls)
    eventually(
        lambda: len(team.spent_in_ledger()) == 1 + len(crowd_calls), within_s=10, what="every call in the ledger"
    )
    assert sum(row["amount_nusd"] for row in team.spent_in_ledger()) == sum(c["amount_nusd"] for c in team.books())

    team.set_cap_nusd(true_cost_nusd + cap_nusd + 2 * true_cost_nusd)
    assert team.post(body).status_code == 200
