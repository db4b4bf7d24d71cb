"""`python -m stack.supervisord CONFIGURATION`: supervisord, living no longer than whoever started it.

Standard input is a pipe that the starter holds open; when it closes, for whatever reason, `kill -9` included,
everything is stopped in good order.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

from supervisor import supervisord


def main() -> None:
    threading.Thread(target=_stop_with_the_starter, daemon=True).start()
    supervisord.main(["--nodaemon", "--configuration", sys.argv[1]])


def _stop_with_the_starter() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
