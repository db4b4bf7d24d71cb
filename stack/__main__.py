"""`python -m stack run`: the whole system in the foreground. `python -m stack smoke` or `smoke-observe`: start it, try
it, stop it.
`python -m stack gateway`: say which gateway the environment names, or why there is none."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Final

from stack.errors import StackError, StartError
from stack.gateway import gateway_from
from stack.log_view import LogView
from stack.observe_smoke import observe_smoke
from stack.ports import Ports, ports_from
from stack.smoke import smoke
from stack.system import PROGRAM_NAMES, Stack
from stack.welcome import welcome

# A provider that answers at once would show nothing of streaming.
_DEMO_PACE: Final = {"BURSAR_DEMO_FIRST_TOKEN_MS": "300", "BURSAR_DEMO_TOKEN_MS": "25"}
_LOOK_EVERY_S: Final = 0.5
_STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> int:
    parser = argparse.ArgumentParser(prog="stack", description="The whole system on this machine.")
    parser.add_argument("command", choices=["run", "smoke", "smoke-observe", "gateway"])
    command = parser.parse_args().command
    for stop_signal in _STOP_SIGNALS:
        signal.signal(stop_signal, _stop)
    try:
        return {"run": _run, "smoke": smoke, "smoke-observe": observe_smoke, "gateway": _name_gateway}[command]()
    except StackError as error:
        sys.stderr.write(f"\n{error}\n")
        return 1
    except KeyboardInterrupt:
        return 130


def _run() -> int:
    run = Path(os.environ.get("BURSAR_RUN_DIR") or ".run")
    log_view = LogView(run / "logs", list(PROGRAM_NAMES))
    settings = _DEMO_PACE | dict(os.environ)
    stack = Stack(run, ports=ports_from(os.environ), settings=settings, company=True, say=_say)
    started_s = time.monotonic()
    log_view.start()
    try:
        stack.start()
        _say(f"everything answers after {time.monotonic() - started_s:.1f} s")
        print(welcome(stack.ready, run=run), flush=True)
        while stack.is_alive():
            time.sleep(_LOOK_EVERY_S)
        raise StartError(f"the supervisor has ended, and everything with it; {run}/logs/supervisord.log may say why")
    except KeyboardInterrupt:
        _say("stopping")
    finally:
        # A second Ctrl-C must not leave half of it running.
        for stop_signal in _STOP_SIGNALS:
            signal.signal(stop_signal, signal.SIG_IGN)
        stack.stop()
        log_view.stop()
    _say("stopped")
    return 0


def _name_gateway() -> int:
    gateway = gateway_from(os.environ, Ports())
    print(
        f"gateway: {gateway.kind} {gateway.binary or ''}".rstrip() if gateway.kind != "running" else gateway.proxy_url
    )
    return 0


def _say(text: str) -> None:
    print(f"bursar: {text}", flush=True)


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
