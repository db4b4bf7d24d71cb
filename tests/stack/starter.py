"""Starts a supervisor with one program, says so in a file, and waits to be killed."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from stack.programs import Program, python
from stack.supervision import Supervisor


def main() -> None:
    folder = Path(sys.argv[1])
    supervisor = Supervisor(
        folder, folder / "supervisor.sock", [Program(name="sleeper", command=python("-c", sys.argv[2]))]
    )
    supervisor.start()
    supervisor.run("sleeper")
    while (process_id := supervisor.process_id("sleeper")) is None:
        time.sleep(0.02)
    draft = folder / "started.new"
    draft.write_text(str(process_id))
    draft.rename(folder / "started")
    time.sleep(600)


if __name__ == "__main__":
    main()
