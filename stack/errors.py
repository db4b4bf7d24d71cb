"""What can keep the system from starting; each message says what to do.

StackError
├── PortError          a port is no port, or in use
├── GatewayError       the gateway that was asked for cannot be had
├── FolderInUseError   the run directory is another system's, or another user's
├── PostgresError      the database cluster could not be made
├── SupervisionError   supervisord did not start, or cannot pass on a setting
└── StartError         a program does not answer, or a step failed
"""

from __future__ import annotations


class StackError(Exception):
    """Shown as it is to who typed `make run`."""


class PortError(StackError):
    """A port cannot be used; the message says which, and which variable sets it."""


class GatewayError(StackError):
    """The gateway that was asked for cannot be had; the message says what is missing."""


class FolderInUseError(StackError):
    """The run directory is not ours to use; the message says which one and why."""


class PostgresError(StackError):
    """Postgres could not be set up; the message has its own words."""


class SupervisionError(StackError):
    """The supervisor could not be started, or does not answer."""


class StartError(StackError):
    """The system did not come up; the message ends with the failing program's own last words."""
