"""minikong: a small Kong for one machine, for `make run` and for tests.

It reads Kong's environment and declarative configuration, speaks Kong's plugin protocol to the same plugin servers,
runs the same Lua plugins, and fails where Kong fails. Behaviour follows Kong 3.9.3; no code of Kong's is in it.
"""

from __future__ import annotations

from typing import Final

KONG_VERSION: Final = "3.9.3"
SERVER_TOKEN: Final = f"minikong/{KONG_VERSION}"
