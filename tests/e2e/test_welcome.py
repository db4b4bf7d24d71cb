"""What `make run` prints can be pasted into a shell as it stands."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from stack.programs import REPOSITORY
from stack.welcome import welcome
from tests.e2e.system import System


@pytest.fixture
def text(system: System) -> str:
    return welcome(system.ready, run=Path(".run"))


def _paste(command: str) -> str:
    done = subprocess.run(["sh", "-c", command], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _printed(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found.group()


def test_the_curl_line_gets_an_answer(text: str) -> None:
    answer: dict[str, Any] = json.loads(_paste(_printed(r"^curl [^\n]+$", text)))
    assert answer["choices"][0]["message"]["content"]


def test_the_sdk_snippet_prints_a_streamed_answer(text: str) -> None:
    assert len(_paste(_printed(r"^\S+ - <<'END'$.*?^END$", text)).split()) > 5


def test_the_line_about_cost_shows_spend_by_team(text: str) -> None:
    rows = json.loads(_paste(_printed(r"curl -H 'Authorization: Token [^\n]+$", text)))
    assert all(isinstance(row["amount_nusd"], int) for row in rows)
