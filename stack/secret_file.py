"""The secrets of one run directory: made on the first start, kept in a file that only its owner can read."""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

_MAKERS: Final[dict[str, Callable[[], str]]] = {
    "BURSAR_KEY_PEPPER": lambda: secrets.token_urlsafe(32),
    "BURSAR_CREDENTIAL_KEY": lambda: base64.b64encode(secrets.token_bytes(32)).decode(),
    "BURSAR_SECRET_KEY": lambda: secrets.token_urlsafe(48),
    "BURSAR_ADMIN_PASSWORD": lambda: secrets.token_urlsafe(12),
    "BURSAR_API_TOKEN": lambda: f"bsa_{secrets.token_urlsafe(32)}",
    "POSTGRES_PASSWORD": lambda: secrets.token_urlsafe(24),
    "REDIS_PASSWORD": lambda: secrets.token_urlsafe(24),
}


def keep_secrets(path: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """All secrets by name: the environment's, else those in the file, which gets new ones where it lacks any."""
    kept = read_settings(path) if path.exists() else {}
    made = {name: kept.get(name) or make() for name, make in _MAKERS.items()}
    if made != kept:
        write_settings(path, made)
    return {name: environment.get(name) or value for name, value in made.items()}


def read_settings(path: Path) -> dict[str, str]:
    """A file of NAME=value lines."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def write_settings(path: Path, settings: Mapping[str, str]) -> None:
    """Write NAME=value lines that only the owner can read."""
    write_private(path, "".join(f"{name}={value}\n" for name, value in settings.items()))


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step; nobody else could read it at any moment."""
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)
