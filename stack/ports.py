"""Where each program listens: a default and an environment variable each, checked before anything starts."""

from __future__ import annotations

import random
import socket
from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields, replace
from typing import Final

from stack.errors import PortError

HOST: Final = "127.0.0.1"

# Below the range from which Linux takes the near end of outgoing connections, so that a port that was free
# when it was picked is still free when its program comes to listen on it.
_PICKED_PORTS: Final = range(20_000, 32_000)


@dataclass(frozen=True, kw_only=True)
class Ports:
    gateway: int = 8000
    kong_admin: int = 8001
    control_plane: int = 8080
    provider: int = 9100
    redis: int = 6390
    postgres: int = 5490


def ports_from(environment: Mapping[str, str]) -> Ports:
    """The ports that the environment asks for, 0 being any free one.

    Raises:
        PortError: a variable is no port.
    """
    asked = {name: environment[variable] for name, variable in _variables().items() if environment.get(variable)}
    for name, text in asked.items():
        if not text.isdecimal() or int(text) > 65_535:
            raise PortError(f"{_variables()[name]} must be a port number, or 0 for any free port, not {text!r}")
    return resolved(Ports(**{name: int(text) for name, text in asked.items()}))


def free_ports() -> Ports:
    """Ports that nothing listens on, all different."""
    return resolved(Ports(**dict.fromkeys(_variables(), 0)))


def ports_of_gateways(ports: Ports, count: int) -> list[Ports]:
    """These ports for the first gateway of a system; each further one has a gateway's two ports of its own."""
    taken, several = set(astuple(ports)), [ports]
    while len(several) < count:
        pair = {}
        for name in ("gateway", "kong_admin"):
            pair[name] = _pick(taken)
            taken.add(pair[name])
        several.append(replace(ports, **pair))
    return several


def resolved(ports: Ports) -> Ports:
    """The same ports with each 0 replaced by a free one."""
    taken = {getattr(ports, field.name) for field in fields(ports)}
    chosen = {}
    for field in fields(ports):
        port = getattr(ports, field.name)
        if port == 0:
            port = _pick(taken)
            taken.add(port)
        chosen[field.name] = port
    return Ports(**chosen)


def require_free(ports: Ports, names: list[str]) -> None:
    """Make sure that nothing else listens on these ports.

    Raises:
        PortError: naming each port in use and the variable that moves it.
    """
    used = [name for name in names if not _is_free(getattr(ports, name))]
    if used:
        lines = [f"port {getattr(ports, name)} is in use: set {_variables()[name]} to another port" for name in used]
        raise PortError("; ".join(lines) + " (0 picks any free one)")


def _variables() -> dict[str, str]:
    return {field.name: f"BURSAR_{field.name.upper()}_PORT" for field in fields(Ports)}


def _pick(taken: set[int]) -> int:
    for port in random.sample(_PICKED_PORTS, k=1000):
        if port not in taken and _is_free(port):
            return port
    raise PortError("no free port found")


def _is_free(port: int) -> bool:
    try:
        with socket.create_server((HOST, port)):
            return True
    except OSError:
        return False
