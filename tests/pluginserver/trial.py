"""A plugin for the tests: its configuration says how its access handler behaves."""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

import gevent

print("loading the trial plugin")

version = "1.2.3"
priority = 7
Schema = [{"behaviour": {"type": "string"}}, {"protocol": {"type": "string"}}, {"mode": {"type": "string"}}]

_MEETING = threading.Barrier(8)
_ENDED: list[str] = []


class Plugin:
    def __init__(self, config: dict[str, str]) -> None:
        self.protocol = config.get("protocol", "openai_chat")
        self.observes = config.get("mode") == "observe"
        self._behaviour = getattr(self, "_" + config.get("behaviour", "pass_on"))

    def access(self, kong: Any) -> None:
        self._behaviour(kong)

    def log(self, kong: Any) -> None:
        self._behaviour(kong)

    def _pass_on(self, kong: Any) -> None:
        kong.ctx.shared.set("headers", kong.request.get_headers())

    def _raise_first(self, kong: Any) -> None:
        raise KeyboardInterrupt

    def _raise_later(self, kong: Any) -> None:
        kong.request.get_headers()
        raise ValueError("the handler's own fault")

    def _exit(self, kong: Any) -> None:
        kong.request.get_headers()
        kong.response.exit(429, "slow down")
        kong.log.err("after the end")

    def _exit_in_try(self, kong: Any) -> None:
        try:
            kong.response.exit(429, "slow down")
        except Exception:
            kong.log.err("swallowed")
        finally:
            kong.log.err("cleaning up")

    def _send_nonsense(self, kong: Any) -> None:
        kong.ctx.shared.set("grant", {"value": object()})

    def _meet(self, kong: Any) -> None:
        _MEETING.wait()
        kong.log.notice("met")

    def _hang(self, kong: Any) -> None:
        gevent.sleep(3600)

    def _send_much(self, kong: Any) -> None:
        kong.service.request.set_raw_body(b"x" * 4_000_000)

    def _tell_setting(self, kong: Any) -> None:
        kong.ctx.shared.set("setting", os.environ.get("BURSAR_TRIAL"))

    def _beat(self, kong: Any) -> None:
        try:
            while True:
                kong.ctx.shared.get("beat")
                gevent.sleep(0.05)
        finally:
            _ENDED.append("beating")

    def _tell_ended(self, kong: Any) -> None:
        kong.ctx.shared.set("ended", _ENDED)

    def _leave(self, kong: Any) -> None:
        kong.request.get_headers()
        sys.exit(3)
