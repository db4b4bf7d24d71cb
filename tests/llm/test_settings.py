"""A node's settings come from its environment, and a missing one is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from kong_plugins.llm.settings import MissingSetting, edge_settings

REQUIRED = {"REDIS_URL": "redis://localhost", "BURSAR_KEY_PEPPER": "pepper", "BURSAR_CREDENTIAL_KEY": "key"}


def test_three_variables_are_enough() -> None:
    settings = edge_settings(REQUIRED)

    assert settings.redis_url == "redis://localhost"
    assert settings.lease_ms == settings.deadline_ms + settings.lease_grace_ms


def test_every_number_can_be_set() -> None:
    numbers = {"BURSAR_DEADLINE_MS": "3000", "BURSAR_LEASE_GRACE_MS": "2000", "BURSAR_EDGES": "3"}
    settings = edge_settings(REQUIRED | numbers)

    assert (settings.lease_ms, settings.edges) == (5000, 3)


def test_a_secret_may_lie_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "pepper"
    file.write_text("from the file\n")

    settings = edge_settings(REQUIRED | {"BURSAR_KEY_PEPPER": "", "BURSAR_KEY_PEPPER_FILE": str(file)})

    assert settings.key_pepper == "from the file"


@pytest.mark.parametrize("name", REQUIRED)
def test_a_missing_variable_is_named(name: str) -> None:
    with pytest.raises(MissingSetting, match=name):
        edge_settings({key: value for key, value in REQUIRED.items() if key != name})


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "ten", ""])
def test_a_number_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(MissingSetting, match="BURSAR_DEADLINE_MS"):
        edge_settings(REQUIRED | {"BURSAR_DEADLINE_MS": value})
