"""docs/credentials.md, its commands run as they stand."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Final

import pytest
from django.conf import settings
from pytest_django.live_server_helper import LiveServer

from control_plane.catalog.models import Provider
from kong_plugins.llm.credentials import credential_key_ids, open_credential
from tests.control_plane.cast import Api, environment

REPOSITORY: Final = Path(__file__).parents[2]
DOCUMENT: Final = REPOSITORY / "docs" / "credentials.md"


def script() -> str:
    """All shell blocks of the document, one after the other in one shell."""
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```$", DOCUMENT.read_text(), flags=re.DOTALL | re.MULTILINE)
    return "\n".join(map(textwrap.dedent, blocks))


@pytest.fixture
def gateway_settings(tmp_path: Path) -> Path:
    """The file of a gateway node, with the key of the control plane."""
    path = tmp_path / "edge.env"
    path.write_text(f"REDIS_URL=redis://127.0.0.1\nBURSAR_CREDENTIAL_KEY={settings.CREDENTIAL_KEY}\n")
    return path


def test_who_follows_the_document_ends_with_the_new_key_alone(
    api: Api, live_server: LiveServer, gateway_settings: Path
) -> None:
    at_home = {
        "http://127.0.0.1:8080": live_server.url,
        "/etc/bursar/edge.env": str(gateway_settings),
        "python manage.py": f"{sys.executable} manage.py",
    }
    text = script()
    for theirs, ours in at_home.items():
        assert theirs in text
        text = text.replace(theirs, ours)

    done = subprocess.run(
        [str(shutil.which("bash")), "-euo", "pipefail", "-c", text],
        cwd=REPOSITORY,
        env=environment(BURSAR_TOKEN=api.token),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    [new_key] = re.findall(r"^BURSAR_CREDENTIAL_KEY=(.*)$", gateway_settings.read_text(), flags=re.MULTILINE)
    [new_id], [old_id] = credential_key_ids(new_key), credential_key_ids(settings.CREDENTIAL_KEY)
    assert done.stdout.splitlines()[-4:] == [
        f"not needed any more: {old_id}",
        f"under the key {new_id}: 5; to be moved to it: 0",
        f"not needed any more: {old_id}",
        f"under the key {new_id}: 5; to be moved to it: 0",
    ]
    opened = {
        name.partition("/")[2]: open_credential(sealed, credential_id=name, credential_key=new_key)
        for name, sealed in api.policy().credentials.items()
    }
    assert opened["openai"] == "sk-proj-another"
    assert opened["azure-north"] == "fedcba9876543210"
    assert "AKIAIOSFODNN7EXAMPLE" in opened["bedrock"]
    assert opened["ollama"] == ""
    assert set(Provider.objects.values_list("name", flat=True)) == set(opened)
