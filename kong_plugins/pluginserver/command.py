"""What the command line asks for: print a plugin's description, or serve it until told to stop."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any, Final

from kong_pdk.module import Module

from kong_plugins.pluginserver.environment import read_environment_file
from kong_plugins.pluginserver.process import serve_until_stopped
from kong_plugins.pluginserver.server import HardenedPluginServer

_PLUGIN_DIRECTORY: Final = Path(__file__).parent.parent
_LOG_LEVELS: Final = (logging.WARNING, logging.INFO, logging.DEBUG)


def run(parent_process_id: int) -> int:
    """Do what `sys.argv` asks for, for the process that started this one; returns the exit status."""
    options = _parser().parse_args()
    logging.basicConfig(
        level=_LOG_LEVELS[min(options.verbose, len(_LOG_LEVELS) - 1)],
        format="%(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    if options.env_file and not options.dump:
        os.environ.update(read_environment_file(options.env_file))
    plugin = _load(options.plugin)
    server = HardenedPluginServer(plugin, answer_timeout_s=options.answer_timeout)
    if options.dump:
        json.dump([server.get_plugin_info(server.plugin_name)], sys.stdout)
        return 0
    getattr(plugin.mod, "start", lambda: None)()
    name = options.socket_name or f"{server.plugin_name}.socket"
    serve_until_stopped(server, options.prefix / name, options.socket_mode, parent_process_id)
    return 0


def _load(plugin: str) -> Any:
    """Load an entry file. What it prints goes to stderr, as stdout is for `--dump` alone.

    Kong takes the file's name for the plugin's.
    """
    path = Path(plugin) if plugin.endswith(".py") else _PLUGIN_DIRECTORY / f"{plugin}.py"
    if not path.is_file():
        raise SystemExit(f"there is no plugin at {path}")
    with contextlib.redirect_stdout(sys.stderr):
        return Module(path.stem, path=str(path))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bursar-pluginserver", description="Runs one of Bursar's plugins for Kong.")
    parser.add_argument("plugin", help="a plugin's name, such as llm-key-auth, or the path of an entry file")
    parser.add_argument("-p", "--prefix", type=Path, default=Path(), help="directory of the socket, Kong's prefix")
    parser.add_argument("--socket-name", help="name of the socket in it (default: PLUGIN.socket)")
    parser.add_argument(
        "--socket-mode",
        type=lambda text: int(text, 8),
        default=0o600,
        metavar="MODE",
        help="who may connect, in octal (default: 600; 660 where Kong's user shares a group with this one)",
    )
    parser.add_argument("--env-file", type=Path, help="file of NAME=value lines, for a Kong that passes no environment")
    parser.add_argument(
        "--answer-timeout",
        type=float,
        default=4.0,
        metavar="SECONDS",
        help="longest wait for a handler; stay below Kong's lua_socket_read_timeout (default: 4)",
    )
    parser.add_argument("--dump", action="store_true", help="print Kong's description of the plugin and exit")
    parser.add_argument("-v", "--verbose", action="count", default=0, help="log more; never headers or bodies")
    return parser
