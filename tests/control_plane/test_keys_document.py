"""docs/keys.md, its commands run as they stand, and what it says of keys and routes."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

from pytest_django.live_server_helper import LiveServer

from control_plane.keys.models import VirtualKey
from control_plane.teams.models import Organization
from kong_plugins.llm.keys import issue_key, key_id_of
from tests.control_plane.cast import Api, environment

REPOSITORY: Final = Path(__file__).parents[2]
DOCUMENT: Final = (REPOSITORY / "docs" / "keys.md").read_text()


def test_who_follows_the_document_has_issued_rotated_and_ended_a_key(api: Api, live_server: LiveServer) -> None:
    api.team()
    script = "\n".join(re.findall(r"^```sh\n(.*?)^```$", DOCUMENT, flags=re.DOTALL | re.MULTILINE))

    done = subprocess.run(
        [
            *(str(shutil.which("bash")), "-euo", "pipefail", "-c"),
            script.replace("http://127.0.0.1:8080", live_server.url),
        ],
        env=environment(BURSAR_TOKEN=api.token),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    key = VirtualKey.objects.get()
    assert {key_id_of(shown) for shown in re.findall(r"bsr_\w+", done.stdout)} == {key.pk}
    assert "good_until" in done.stdout
    assert (key.generation, key.former_digest, key.state, key.contact) == (2, "", "revoked", "ranking@example.com")
    assert Organization.objects.get().rotate_keys_every_days == 180
    assert done.stdout.splitlines()[-1] == '{"revoked":0}'


def test_the_scanners_expression_finds_keys_and_the_routes_are_those_of_kong() -> None:
    [expression] = re.findall(r"^```regex\n(.*)\n```$", DOCUMENT, flags=re.MULTILINE)
    key_id, key = issue_key()
    for text in (key, f"OPENAI_API_KEY={key}\n", f'{{"key": "{key}"}}'):
        assert re.findall(expression, text) == [key]
    assert not re.search(expression, key[:-1])
    assert key_id_of(key) == key_id

    kong = (REPOSITORY / "kong.yml").read_text()
    for route in ("openai-chat-completions", "openai-embeddings", "models", "bursar-limits", "bursar-estimate"):
        assert f"`{route}`" in DOCUMENT or f'"{route}"' in DOCUMENT
        assert f"- name: {route}\n" in kong
