"""The life of the process: it stops when told to, when the Kong that started it is gone, or when it hangs."""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
from pathlib import Path
from typing import Final

import gevent
from gevent.event import Event as Flag

from kong_plugins.pluginserver.listener import Listener
from kong_plugins.pluginserver.server import HardenedPluginServer

_logger = logging.getLogger(__name__)

_LOOK_EVERY_S: Final = 0.25
_FINISH_WITHIN_S: Final = 0.5
# A loop that has not come round for so long never will; a new process answers sooner.
_HUNG_AFTER_S: Final = 15.0


def serve_until_stopped(server: HardenedPluginServer, path: Path, mode: int, parent_process_id: int) -> None:
    """Serve at the socket until SIGTERM, SIGINT or the end of the parent; running handlers may then finish.

    A sidecar, whose parent is init (1) or outside its container (0), ends only when told to.
    """
    stop = Flag()
    gevent.signal_handler(signal.SIGTERM, stop.set)
    gevent.signal_handler(signal.SIGINT, stop.set)
    listener = Listener(server, path, mode)
    listener.start()
    _logger.info("%s listens at %s", server.plugin_name, path)

    while not stop.wait(_LOOK_EVERY_S):
        faulthandler.dump_traceback_later(_HUNG_AFTER_S, exit=True)
        if parent_process_id > 1 and os.getppid() != parent_process_id:
            _logger.warning("Kong is gone, so its plugin server ends")
            break

    faulthandler.cancel_dump_traceback_later()
    listener.stop()
    server.handlers.join(timeout=_FINISH_WITHIN_S)
    server.handlers.kill(timeout=_FINISH_WITHIN_S)
