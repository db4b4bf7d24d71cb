"""What the README promises to a newcomer."""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text()
DOCUMENTS = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]


def test_the_first_two_commands_are_run_and_test() -> None:
    commands = re.findall(r"^ {4}(\S.*?) *#", README, flags=re.MULTILINE)

    assert commands[:2] == ["make run", "make test"]


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), flags=re.MULTILINE))
    named = {name for document in DOCUMENTS for name in re.findall(r"`make ([a-z-]+)`", document.read_text())}

    assert named <= targets


def test_every_file_that_is_linked_exists() -> None:
    for document in DOCUMENTS:
        for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", document.read_text()):
            assert (document.parent / link).exists(), f"{document.name} links to {link}"


def test_every_package_says_what_it_owns() -> None:
    packages = ["kong_plugins", "kong_plugins/llm", "control_plane", "minikong", "demo", "stack", "bench", "lint"]

    assert all((REPOSITORY / package / "README.md").exists() for package in packages)
