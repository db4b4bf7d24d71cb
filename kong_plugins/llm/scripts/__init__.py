"""The scripts that decide and count inside Redis, put together from the `.lua` files beside this one."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Final

# What each script is built on, in order; a fragment may use those before it.
_FRAGMENTS: Final = {
    "reserve": ("number", "ring", "line", "cap", "event", "threshold", "settle", "failing", "checks"),
    "post": ("number", "ring", "line", "cap", "event", "threshold", "settle"),
    "expire": ("number", "ring", "line", "cap", "event", "threshold", "settle"),
    "leave": ("number", "line"),
    "mark": ("failing",),
    "set_cap": ("number", "line", "cap", "event", "threshold"),
    "budget_state": ("cap",),
    "period_end": (),
    "restore": ("number",),
    "adjust": ("number", "cap", "event", "threshold"),
    "put_key": (),
    "publish_policy": (),
}


@cache
def lua_file(name: str) -> str:
    """The text of one `.lua` file."""
    return (files(__package__) / f"{name}.lua").read_text()


def script_source(name: str, clock: str) -> str:
    """One whole script: its shebang, the clock (Lua that defines `now_ms`), its fragments and itself."""
    shebang, own = lua_file(name).split("\n", 1)
    return "\n".join([shebang, clock, *(lua_file(fragment) for fragment in _FRAGMENTS[name]), own])
