"""The Chromium that the tests drive: one that is there already, never one that is brought."""

from __future__ import annotations

import os
import shutil
import sys
from typing import Final

_NAMES: Final = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
_NONE: Final = "there is no Chromium: set CHROMIUM_BIN, or install Debian's package `chromium`"


def chromium() -> str | None:
    """The program's path: `CHROMIUM_BIN`, or the first of its names on the PATH; None where there is none."""
    named = os.environ.get("CHROMIUM_BIN")
    return shutil.which(named) if named else next(filter(None, map(shutil.which, _NAMES)), None)


if __name__ == "__main__":
    found = chromium()
    print(found or _NONE, file=sys.stdout if found else sys.stderr)
    sys.exit(0 if found else 1)
