"""`python -m demo.simulator --port 9100`: run the provider until it is told to stop."""

from __future__ import annotations

import argparse
import logging

import uvloop
from aiohttp import web

from demo.simulator.books import Behaviour
from demo.simulator.server import Simulator


def main() -> None:
    parser = argparse.ArgumentParser(prog="demo.simulator", description="A provider that answers like OpenAI.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9100)
    parser.add_argument("--first-token-ms", type=int, default=0, help="how long an answer takes to begin")
    parser.add_argument("--token-ms", type=float, default=0, help="how long each token takes")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    standard = Behaviour(first_token_ms=options.first_token_ms, token_ms=options.token_ms)
    web.run_app(
        Simulator(standard).application(),
        host=options.host,
        port=options.port,
        access_log=None,
        shutdown_timeout=1,
        print=None,
        loop=uvloop.new_event_loop(),
    )


if __name__ == "__main__":
    main()
