"""docs/api.md, its commands run as they stand."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

from pytest_django.live_server_helper import LiveServer

from control_plane.api.callers import SCOPES
from control_plane.budgets.models import Budget
from control_plane.keys.models import VirtualKey
from tests.control_plane.cast import Api, environment

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "api.md"


def test_who_follows_the_document_is_answered_as_it_says(api: Api, live_server: LiveServer, tmp_path: Path) -> None:
    text = "\n".join(re.findall(r"^```sh\n(.*?)^```$", DOCUMENT.read_text(), flags=re.DOTALL | re.MULTILINE))
    assert "http://127.0.0.1:8080" in text

    done = subprocess.run(
        [str(shutil.which("bash")), "-euo", "pipefail", "-c", text.replace("http://127.0.0.1:8080", live_server.url)],
        cwd=tmp_path,
        env=environment(BURSAR_TOKEN=api.token),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert '"field":"nmae"' in done.stdout
    assert VirtualKey.objects.count() == 1
    assert Budget.objects.get().amount == 150_000_000_000
    assert done.stdout.count("somebody was faster") == 1
    assert "day,tag,amount_nusd,amount_usd,requests" in done.stdout


def test_the_table_names_every_scope() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", DOCUMENT.read_text(), re.MULTILINE)) == set(SCOPES)
