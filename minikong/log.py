"""Kong's log levels on Python's logging, one line an entry on standard error."""

from __future__ import annotations

import logging
import sys
from typing import Final

LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "notice": 25,
    "warn": logging.WARNING,
    "err": logging.ERROR,
    "error": logging.ERROR,
    "crit": logging.CRITICAL,
    "alert": 52,
    "emerg": 54,
}
NOTICE: Final = LEVELS["notice"]

logger: Final = logging.getLogger("minikong")


def start_logging(level: str) -> None:
    """Send this level and everything graver to standard error; of libraries only what the event loop cannot handle."""
    for name, number in LEVELS.items():
        logging.addLevelName(number, name)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s [%(levelname)s] %(message)s"))
    for speaker, least in ((logger, LEVELS[level]), (logging.getLogger("asyncio"), logging.ERROR)):
        speaker.addHandler(handler)
        speaker.propagate = False
        speaker.setLevel(least)
    # minikong logs what becomes of a request itself.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
