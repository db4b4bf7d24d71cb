"""docs/credentials.md, its commands run as they stand."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from django.conf import settings
from pytest_django.live_server_helper import LiveServer

from control_plane.catalog.models import Provider
from kong_plugins.llm.credentials import credential_key_ids, open_credential
from tests.control_plane.cast import Api, environment
from tests.documents import CONTROL_PLANE, follow, shell_blocks


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
        CONTROL_PLANE: live_server.url,
        "/etc/bursar/edge.env": str(gateway_settings),
        "python manage.py": f"{sys.executable} manage.py",
    }
    commands = "\n".join(shell_blocks("credentials.md"))
    assert all(theirs in commands for theirs in at_home)
    printed = follow(commands, at_home, environment(BURSAR_TOKEN=api.token))

    [new_key] = re.findall(r"^BURSAR_CREDENTIAL_KEY=(.*)$", gateway_settings.read_text(), flags=re.MULTILINE)
    [new_id], [old_id] = credential_key_ids(new_key), credential_key_ids(settings.CREDENTIAL_KEY)
    assert printed.splitlines()[-4:] == [
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
