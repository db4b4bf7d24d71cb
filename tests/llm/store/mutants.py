"""Do the tests of the scripts find the faults that they are there for?

Each fault is planted into a copy of the core, whose tests then have to fail: `python -m tests.llm.store.mutants`, with
a part of a fault's name for those alone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from stack.programs import REPOSITORY
from tests.llm.store.faults import FAULTS, Fault
from tests.servers import valkey_server

# The quickest first; the first test that fails has found the fault.
_TESTS: Final = (
    *("holds", "budgets", "caps", "shares", "lines", "waits", "probes", "failing", "recovery", "sliding_limits"),
    "model",
)
_PYTEST: Final = (sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:xdist", "-p", "no:cacheprovider")
_TESTS_FAILED: Final = 1


def caught_by(fault: Fault) -> str | None:
    """The test that fails on the core with this fault; None where all pass."""
    with tempfile.TemporaryDirectory(prefix="bursar-mutant-") as folder:
        core = Path(folder)
        _plant(fault, core)
        command = (*_PYTEST, "--hypothesis-profile", "find", *(f"tests/llm/store/test_{name}.py" for name in _TESTS))
        run = subprocess.run(command, cwd=core, capture_output=True, text=True, check=False)
    if run.returncode not in (0, _TESTS_FAILED):
        raise RuntimeError(f"{fault.name}: the tests did not run\n{run.stdout}{run.stderr}")
    failed = (line for line in run.stdout.splitlines() if line.startswith("FAILED "))
    return next(failed).split("::")[1].split(" ")[0] if run.returncode else None


def _plant(fault: Fault, core: Path) -> None:
    shutil.copy(REPOSITORY / "pyproject.toml", core)
    for name in ("kong_plugins", "stack", "tests"):
        shutil.copytree(REPOSITORY / name, core / name, ignore=shutil.ignore_patterns("__pycache__", "ranks"))
    script = core / "kong_plugins" / "llm" / "scripts" / f"{fault.script}.lua"
    text = script.read_text()
    if text.count(fault.right) != 1:
        raise ValueError(f"{fault.name}: what it replaces stands {text.count(fault.right)} times in {script.name}")
    script.write_text(text.replace(fault.right, fault.wrong))


def main(part_of_name: str) -> int:
    faults = [fault for fault in FAULTS if part_of_name in fault.name]
    valkey_server().start()
    survivors = 0
    with ThreadPoolExecutor(os.cpu_count()) as workers:
        for fault, test in zip(faults, workers.map(caught_by, faults), strict=True):
            print(f"{fault.name}: {test or 'SURVIVES'}", flush=True)
            survivors += test is None
    print(f"{len(faults) - survivors} of {len(faults)} faults are caught")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main("".join(sys.argv[1:2])))
