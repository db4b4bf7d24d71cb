"""A plugin on the stock kong-pdk: it runs the Python that a test puts into its config, a text for each phase.

Started as `python scripted_plugin.py NAME PRIORITY`, followed by kong-pdk's own options.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from kong_pdk.cli import start_dedicated_server


class Plugin:
    """The kong-pdk calls each phase with the `kong` of one request."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config

    def rewrite(self, kong: Any) -> None:
        self._run("rewrite", kong)

    def access(self, kong: Any) -> None:
        self._run("access", kong)

    def log(self, kong: Any) -> None:
        self._run("log", kong)

    def _run(self, phase: str, kong: Any) -> None:
        if phase in self.config:
            exec(self.config[phase], {"kong": kong, "config": self.config, "environ": dict(os.environ)})


if __name__ == "__main__":
    name, priority = sys.argv[1:3]
    del sys.argv[1:3]
    texts = [{phase: {"type": "string"}} for phase in ("rewrite", "access", "log")]
    start_dedicated_server(
        name, Plugin, "1.0.0", int(priority), [*texts, {"word": {"type": "string", "default": "hello"}}]
    )
