"""Console script `bursar-pluginserver`. gevent replaces the standard library's sockets before anything imports them."""

from __future__ import annotations

from gevent import monkey


def main() -> int:
    """Run the plugin that the command line names; returns the exit status."""
    monkey.patch_all()
    from kong_plugins.pluginserver.command import run

    return run()
