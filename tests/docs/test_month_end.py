"""docs/month-end.md, its commands run as they stand on a system with the demo's teams."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from stack.programs import REPOSITORY
from stack.system import Stack
from tests.e2e.system import System

DOCUMENT: Final = REPOSITORY / "docs" / "month-end.md"


def answers_to(system: System) -> list[dict[str, Any]]:
    """What all shell blocks of the document, one after the other in one shell, are answered."""
    script = "\n".join(re.findall(r"^```sh\n(.*?)^```$", DOCUMENT.read_text(), flags=re.DOTALL | re.MULTILINE))
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script.replace("http://127.0.0.1:8080", system.ready["control_plane"])],
        env={**os.environ, "BURSAR_TOKEN": system.ready["api_token"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.timeout(240)
def test_who_follows_the_document_has_what_it_says(tmp_path: Path) -> None:
    with Stack(tmp_path / "run", settings={"BURSAR_REDIS_TIMEOUT_MS": "2000"}) as stack, System(stack.ready) as system:
        budget, extension, each, for_alice, revoked, listed, forecasts = answers_to(system)

        def state_of(row: dict[str, Any]) -> dict[str, Any]:
            [state] = system.api.get(f"/api/v1/budgets/{row['id']}").raise_for_status().json()["states"]
            found: dict[str, Any] = state
            return found

        assert (budget["carry_over_max"], budget["state"]["carried_over"]) == (100 * 10**9, 0)
        assert (extension["amount_usd"], extension["reason"]) == ("50.00", "The launch on Thursday")
        assert extension["created_by"] == revoked["revoked_by"]
        assert listed["results"] == [revoked]
        assert state_of(budget)["cap"] == 400 * 10**9
        assert (for_alice["subject"], state_of(each)["cap"]) == ("alice", 7_500_000_000)
        assert forecasts["results"] == []
