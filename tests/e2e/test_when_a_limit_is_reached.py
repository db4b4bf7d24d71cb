"""docs/when-a-limit-is-reached.md, its commands run as they stand by a team that has reached its limits."""

from __future__ import annotations

import json
import os
import re

from tests.documents import follow, shell_blocks
from tests.e2e.system import System, Team


def run(command: str, team: Team) -> str:
    """What a command prints, with its line ends as curl prints them. The team calls its model by another name."""
    at_home = {"http://127.0.0.1:8000": team.system.gateway, '"gpt-4o"': f'"{team.model}"'}
    return follow(command, at_home, {**os.environ, "KEY": team.key})


def test_who_follows_the_document_waits_insists_and_asks(system: System) -> None:
    team = system.new_team("documented")
    # Room for one such call. Tokens can come back at any time, so that even two seconds are worth a try.
    limit = system.new_limit(team, "tokens", 1060, window_seconds=60)
    wait, _, insist, ask = shell_blocks("when-a-limit-is-reached.md")
    assert run(insist, team).startswith("HTTP/1.1 200")

    asked = json.loads(run(ask, team))
    assert asked["refusal"]["scope"] == "team limit of tokens per minute"

    system.change(f"/api/v1/limits/{limit['id']}", queue_seconds=120)
    assert json.loads(run(ask, team))["waits_for"] == "team limit of tokens per minute"
    refused = run(wait, team)
    assert refused.startswith("HTTP/1.1 429")
    assert int(re.findall(r"x-bursar-queued-ms: (\d+)", refused, flags=re.IGNORECASE)[0]) >= 2000


def test_who_follows_the_document_gets_the_whole_answer_or_none(system: System) -> None:
    team = system.new_team("documented-whole", cap_nusd=400_000)
    _, whole, insist, _ = shell_blocks("when-a-limit-is-reached.md")

    assert run(whole, team).startswith("HTTP/1.1 429")
    assert team.books() == []

    shorter = run(insist, team)
    assert shorter.startswith("HTTP/1.1 200")
    assert 256 <= int(re.findall(r"x-bursar-max-tokens: (\d+)", shorter, flags=re.IGNORECASE)[0]) < 1024
