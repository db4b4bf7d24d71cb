"""Secrets are made once, kept privately, and give way to the environment."""

from __future__ import annotations

from pathlib import Path

from kong_plugins.llm.credentials import open_credential, seal_credential
from stack.secret_file import keep_secrets, read_settings


def test_secrets_stay_the_same_over_restarts(tmp_path: Path) -> None:
    first = keep_secrets(tmp_path / "secrets", {})
    assert keep_secrets(tmp_path / "secrets", {}) == first
    assert all(first.values())


def test_only_the_owner_can_read_them(tmp_path: Path) -> None:
    keep_secrets(tmp_path / "secrets", {})
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o600


def test_the_environment_goes_first_and_is_not_written_down(tmp_path: Path) -> None:
    secrets = keep_secrets(tmp_path / "secrets", {"BURSAR_KEY_PEPPER": "from the vault"})
    assert secrets["BURSAR_KEY_PEPPER"] == "from the vault"
    assert "from the vault" not in read_settings(tmp_path / "secrets").values()


def test_a_credential_can_be_sealed_with_the_key_that_was_made(tmp_path: Path) -> None:
    key = keep_secrets(tmp_path / "secrets", {})["BURSAR_CREDENTIAL_KEY"]
    sealed = seal_credential("sk-sim-demo", credential_id="simulator", credential_key=key)
    assert open_credential(sealed, credential_id="simulator", credential_key=key) == "sk-sim-demo"
