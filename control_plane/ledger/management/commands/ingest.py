"""`manage.py ingest`: the process that carries events from Redis into the ledger."""

from __future__ import annotations

import logging
import os
import socket
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from control_plane.ledger.consumer import Consumer, StopRequest
from control_plane.live import live_state

logger = logging.getLogger(__name__)


class Command(BaseCommand):
    requires_system_checks = []  # they load every page of the admin, and a restart is to be quick
    help = "Ingest usage events into the ledger until SIGTERM. Run as many as you like."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--consumer",
            default=f"{socket.gethostname()}-{os.getpid()}",
            help="The process's name among the readers. One that keeps its name over a restart goes on at once with"
            " what it had read; otherwise another reader takes that over after a minute.",
        )
        parser.add_argument("--drain", action="store_true", help="Stop when there is nothing left to ingest.")

    def handle(self, *_args: Any, consumer: str, drain: bool, **_options: Any) -> None:
        reader = Consumer(live_state(), consumer)
        if drain:
            reader.drain()
            return
        stop = StopRequest()
        logger.info("ingesting as %s", consumer)
        reader.run(stop)
        logger.info("stopped")
