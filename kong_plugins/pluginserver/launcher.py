"""Console script `bursar-pluginserver`. gevent replaces the standard library's sockets before anything imports them."""

from __future__ import annotations

import os

from gevent import monkey


def main() -> int:
    """Run the plugin that the command line names; returns the exit status."""
    parent_process_id = os.getppid()
    monkey.patch_all()
    from kong_plugins.pluginserver.command import run

    return run(parent_process_id)
