"""Kong's phases of a request, as bits, so that a PDK function can say in which it answers."""

from __future__ import annotations

from typing import Final

REWRITE: Final = 1
ACCESS: Final = 2
HEADER_FILTER: Final = 4
BODY_FILTER: Final = 8
LOG: Final = 16
# Kong's own answer to an error of nginx or of the upstream is made in this phase.
ERROR: Final = 32
# A plugin server's log handler runs in a timer after the log phase, where nginx has no request any more.
TIMER: Final = 64

REQUEST: Final = REWRITE | ACCESS | HEADER_FILTER | BODY_FILTER | LOG | ERROR
AUTHENTICATED: Final = ACCESS | HEADER_FILTER | BODY_FILTER | LOG
ANSWERED: Final = HEADER_FILTER | BODY_FILTER | LOG | ERROR
BEFORE_ANSWER: Final = REWRITE | ACCESS | HEADER_FILTER | ERROR

NAMES: Final = {
    REWRITE: "rewrite",
    ACCESS: "access",
    HEADER_FILTER: "header_filter",
    BODY_FILTER: "body_filter",
    LOG: "log",
    ERROR: "error",
    TIMER: "timer",
}


def names(phases: int) -> str:
    """The names of several phases, for a message."""
    return ", ".join(name for phase, name in NAMES.items() if phase & phases)
