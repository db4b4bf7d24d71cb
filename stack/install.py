"""`python3 stack/install.py VENV LOCK`: makes the virtual environment of `make setup`, with what the lock names.

It runs on whatever Python the machine has, so it uses nothing but the standard library.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import deque
from importlib.util import find_spec
from pathlib import Path

_OLDEST = (3, 11)
_LAST_WORDS_LINES = 30
# pip says "Processing" of a file from a local index, and "Ignoring" of what another platform needs.
_PACKAGE = re.compile(
    r"(?:Collecting |Ignoring |Requirement already satisfied: |Processing \S*/)(\w[\w.]*(?:-[A-Za-z][\w.]*)*)"
)
_QUIET = ("--disable-pip-version-check", "--no-input")


def main() -> int:
    venv, lock = Path(sys.argv[1]), Path(sys.argv[2])
    if sys.version_info < _OLDEST:
        have = ".".join(str(part) for part in sys.version_info[:3])
        return _fail(f"Bursar needs Python 3.11 or newer; {sys.executable} is {have}. Try: make PYTHON=python3.11")
    if find_spec("ensurepip") is None or find_spec("venv") is None:
        return _fail("Python lacks its venv module. On Debian and Ubuntu: apt-get install python3-venv")
    pip = [str(venv / "bin" / "python"), "-m", "pip", "install", *_QUIET]
    if not _works(pip[0]):
        print(f"setup: making {venv}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(venv)], check=True)
    total = len(re.findall(r"^\S+==", lock.read_text(), re.MULTILINE))
    print(f"setup: installing {total} packages, which takes a minute or two the first time", flush=True)
    if not _run([*pip, "--require-hashes", "--no-deps", "-r", str(lock)], total):
        return 1
    print("setup: installing Bursar itself", flush=True)
    return 0 if _run([*pip, "--no-deps", "--no-build-isolation", "--editable", "."], 1) else 1


def _works(python: str) -> bool:
    """Whether there is an environment already, of a Python that is still there."""
    try:
        return subprocess.run([python, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _run(command: list[str], total: int) -> bool:
    """Run pip and show how far it is; whether it succeeded. After a failure its last lines are shown."""
    last_words: deque[str] = deque(maxlen=_LAST_WORDS_LINES)
    done = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout or ():
            last_words.append(line)
            if found := _PACKAGE.match(line):
                done += 1
                _show(done, total, found.group(1))
            elif line.startswith("Installing collected packages") and total > 1:
                print("\nsetup: unpacking", flush=True)
    if process.returncode != 0:
        sys.stderr.write("".join(last_words))
    return process.returncode == 0


def _show(done: int, total: int, name: str) -> None:
    text = f"setup: {done}/{total} {name}"
    if sys.stdout.isatty():
        print(f"\r\033[K{text}", end="", flush=True)
    elif done % 20 == 0 or done == total:
        print(text, flush=True)


def _fail(message: str) -> int:
    sys.stderr.write(f"{message}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
