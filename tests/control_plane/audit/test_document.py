"""docs/audit.md, its commands run as they stand."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from pytest_django.live_server_helper import LiveServer

from control_plane.audit.models import AuditEntry
from tests.control_plane.cast import Api, environment

REPOSITORY: Final = Path(__file__).parents[3]
DOCUMENT: Final = REPOSITORY / "docs" / "audit.md"


def test_who_follows_the_document_reads_exports_and_verifies(api: Api, live_server: LiveServer, tmp_path: Path) -> None:
    text = "\n".join(re.findall(r"^```sh\n(.*?)^```$", DOCUMENT.read_text(), flags=re.DOTALL | re.MULTILINE))
    at_home = {
        "http://127.0.0.1:8080": live_server.url,
        "python manage.py": f"{sys.executable} {REPOSITORY}/manage.py",
        "organization acme": f"organization {api.organization.slug}",
        "actor=admin": "actor=alice",
        "audit.jsonl": str(tmp_path / "audit.jsonl"),
    }
    for theirs, ours in at_home.items():
        assert theirs in text
        text = text.replace(theirs, ours)

    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=REPOSITORY,
        env=environment(BURSAR_TOKEN=api.token),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    entry = AuditEntry.objects.get(kind="team", action="created")
    assert entry.reason == "The launch in spring"
    lines = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert entry.pk in {line["id"] for line in lines}
    last = AuditEntry.objects.filter(organization=api.organization.slug).order_by("sequence").last()
    assert last is not None
    assert done.stdout.rstrip().endswith(f"{api.organization.slug} {last.sequence}:{last.hash}")
