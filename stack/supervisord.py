"""`python -m stack.supervisord CONFIGURATION`: supervisord, living no longer than whoever started it.

Standard input is a pipe that the starter holds open; when it closes, for whatever reason, `kill -9` included,
everything is stopped in good order.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any, Final

from supervisor import supervisord
from supervisor.options import ServerOptions
from supervisor.poller import PollPoller

_LOOK_EVERY_S: Final = 0.1


class WatchfulPoller(PollPoller):  # type: ignore[misc] # supervisor has no types
    """supervisord sees deaths when it wakes, by itself once a second; a gateway has to be back sooner."""

    def poll(self, timeout_s: float) -> Any:
        return super().poll(min(timeout_s, _LOOK_EVERY_S))


def main() -> None:
    configuration = Path(sys.argv[1])
    threading.Thread(target=_stop_with_the_starter, args=[configuration.with_name("ready.json")], daemon=True).start()
    options = ServerOptions()
    options.poller = WatchfulPoller(options)
    options.realize(["--nodaemon", "--configuration", str(configuration)])
    options.first, options.test = True, False
    supervisord.go(options)
    options.close_httpservers()
    options.close_logger()


def _stop_with_the_starter(ready_file: Path) -> None:
    while os.read(0, 1):
        pass
    ready_file.unlink(missing_ok=True)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
