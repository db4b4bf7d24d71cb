"""Folders for run directories: short, since the path of a Unix socket may have at most 107 bytes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def short_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="bursar-") as folder:
        yield Path(folder)
