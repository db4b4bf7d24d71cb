"""Files of settings: nginx gives the processes that it starts no environment, so theirs lies in a file."""

from __future__ import annotations

from pathlib import Path


def read_environment_file(path: Path) -> dict[str, str]:
    """The variables of a file of `NAME=value` lines; blank lines and `#` lines are skipped, nothing is unquoted.

    Raises:
        SystemExit: a line is none of these; the message names the line and not its content, which may be a secret.
    """
    variables = {}
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, separator, value = line.partition("=")
        if not separator or not name.strip().isidentifier():
            raise SystemExit(f"{path}, line {number}: not NAME=value")
        variables[name.strip()] = value
    return variables
