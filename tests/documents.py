"""The commands of our documents, for the tests that follow one to the letter."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).parents[1]
CONTROL_PLANE: Final = "http://127.0.0.1:8080"


def shell_blocks(name: str) -> list[str]:
    """The blocks of commands of `docs/<name>`, in their order."""
    text = (REPOSITORY / "docs" / name).read_text()
    return [textwrap.dedent(block) for block in re.findall(r"^ *```sh\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE)]


def follow(commands: str, at_home: Mapping[str, str], environment: Mapping[str, str] | None = None) -> str:
    """What the commands print, run in one shell from the repository, in `environment` or else in that of the tests.
    `at_home` has what stands for their addresses and paths on this machine; a command that fails fails the test."""
    for theirs, ours in at_home.items():
        commands = commands.replace(theirs, ours)
    done = subprocess.run(
        [str(shutil.which("bash")), "-euo", "pipefail", "-c", commands],
        cwd=REPOSITORY,
        env=os.environ if environment is None else environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
