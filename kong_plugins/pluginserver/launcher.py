"""Console script `bursar-pluginserver`. gevent replaces the standard library's sockets before anything imports them."""

from __future__ import annotations

import os
import sys

from gevent import monkey


def main() -> int:
    """Run the plugin that the command line names; returns the exit status."""
    parent_process_id = os.getppid()
    # A description opens no socket, and patching is a third of its time, which Kong waits for at its own start.
    if "--dump" not in sys.argv:
        monkey.patch_all()
    from kong_plugins.pluginserver.command import run

    return run(parent_process_id)
