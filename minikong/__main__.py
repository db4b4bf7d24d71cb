"""`python -m minikong`: the environment is all there is to say."""

from __future__ import annotations

import asyncio
import os
import sys

import uvloop

from minikong.errors import MinikongError
from minikong.gateway import serve
from minikong.log import NOTICE, logger, start_logging
from minikong.settings import read_settings


def main() -> int:
    """Serve until told to stop; returns the exit status."""
    try:
        settings = read_settings(os.environ)
        start_logging(settings.log_level)
        for name in settings.without_effect:
            logger.log(NOTICE, "%s has no effect in minikong", name)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(settings))
    except MinikongError as error:
        sys.stderr.write(f"minikong: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
