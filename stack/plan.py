"""What is to run, where, and with which settings: everything that is decided before anything starts."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stack.errors import GatewayError
from stack.gateway import Gateway, gateway_from
from stack.ports import HOST, Ports, ports_of_gateways, require_free
from stack.postgres import database_url
from stack.secret_file import keep_secrets
from stack.valkey import redis_url

# A Unix socket's path has at most 107 bytes; the longest in this folder is /gateway-10/llm-token-meter.socket.
_LONGEST_SOCKET_FOLDER: Final = 73
_EDGE_SETTINGS: Final = (
    "BURSAR_DEADLINE_MS",
    "BURSAR_LEASE_GRACE_MS",
    "BURSAR_MAX_REQUEST_BYTES",
    "BURSAR_MAX_WAITING",
    "BURSAR_MAX_WAITING_BYTES",
)
# Longer than a gateway's own default: here Redis shares its cores with everything else.
_REDIS_TIMEOUT_MS: Final = "1000"


@dataclass(frozen=True, kw_only=True)
class Node:
    """One gateway with its plugin servers, as if on a machine of its own: `name` is that of its program and of its
    folder, in which its settings and its journal lie; its sockets lie in `prefix`."""

    name: str
    gateway: Gateway
    ports: Ports
    folder: Path
    prefix: Path

    @property
    def edge_settings(self) -> Path:
        """The file with what its plugin servers need to know."""
        return self.folder / "edge.env"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One system: its folder, its ports, its secrets, its gateway nodes, and what of it is somebody else's.

    `sockets` is the run directory, or a folder of its own where that has too long a name. `provider_pace` is how many
    milliseconds the simulated provider takes for its first token and for each.
    """

    run: Path
    sockets: Path
    ports: Ports
    secrets: Mapping[str, str]
    nodes: tuple[Node, ...]
    redis_url: str
    database_url: str
    own_redis: bool
    own_postgres: bool
    edge_settings: Mapping[str, str]
    provider_pace: tuple[str, str]

    @property
    def control_plane_url(self) -> str:
        return f"http://{HOST}:{self.ports.control_plane}"

    @property
    def provider_url(self) -> str:
        return f"http://{HOST}:{self.ports.provider}"

    def edge_environment(self, node: Node) -> dict[str, str]:
        """What a gateway node needs to know (kong_plugins/llm/settings.py)."""
        of_node = {"BURSAR_JOURNAL_DIR": str(node.folder / "journal"), "BURSAR_EDGES": str(len(self.nodes))}
        return {"REDIS_URL": self.redis_url, **of_node, **self._shared_secrets, **self.edge_settings}

    @property
    def control_plane_environment(self) -> dict[str, str]:
        """What Django, Celery and the management commands need to know beside what the environment says."""
        return {
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis_url,
            **self._shared_secrets,
            "BURSAR_SECRET_KEY": self.secrets["BURSAR_SECRET_KEY"],
            "DJANGO_SETTINGS_MODULE": "control_plane.settings",
            "PYTHONUNBUFFERED": "1",
        }

    @property
    def _shared_secrets(self) -> dict[str, str]:
        return {name: self.secrets[name] for name in ("BURSAR_KEY_PEPPER", "BURSAR_CREDENTIAL_KEY")}


def make_plan(run: Path, ports: Ports, environment: Mapping[str, str], *, gateways: int = 1) -> Plan:
    """Decide everything for a run directory, which is made if it is not there; secrets are kept in it.

    Raises:
        PortError: a port that is needed is in use.
        GatewayError: there is no such gateway.
    """
    run = run.absolute()
    run.mkdir(parents=True, exist_ok=True)
    sockets = _socket_folder(run)
    secrets = keep_secrets(run / "secrets", environment)
    redis, database = environment.get("REDIS_URL"), environment.get("DATABASE_URL")
    plan = Plan(
        run=run,
        sockets=sockets,
        ports=ports,
        secrets=secrets,
        nodes=_nodes(run, sockets, ports, environment, gateways),
        redis_url=redis or redis_url(ports.redis, secrets["REDIS_PASSWORD"]),
        database_url=database or database_url(ports.postgres, secrets["POSTGRES_PASSWORD"]),
        own_redis=not redis,
        own_postgres=not database,
        edge_settings={
            "BURSAR_REDIS_TIMEOUT_MS": environment.get("BURSAR_REDIS_TIMEOUT_MS") or _REDIS_TIMEOUT_MS,
            **{name: environment[name] for name in _EDGE_SETTINGS if environment.get(name)},
        },
        provider_pace=(
            environment.get("BURSAR_DEMO_FIRST_TOKEN_MS") or "0",
            environment.get("BURSAR_DEMO_TOKEN_MS") or "0",
        ),
    )
    require_free(ports, _needed_ports(plan))
    return plan


def _nodes(run: Path, sockets: Path, ports: Ports, environment: Mapping[str, str], count: int) -> tuple[Node, ...]:
    nodes = []
    for number, node_ports in enumerate(ports_of_gateways(ports, count), start=1):
        name = "gateway" if number == 1 else f"gateway-{number}"
        gateway = gateway_from(environment, node_ports)
        if gateway.kind == "running" and count > 1:
            raise GatewayError("a Kong that runs already is one gateway: unset KONG_ADMIN_URL and KONG_PROXY_URL")
        nodes.append(Node(name=name, gateway=gateway, ports=node_ports, folder=run / name, prefix=sockets / name))
    return tuple(nodes)


def _needed_ports(plan: Plan) -> list[str]:
    names = ["control_plane", "provider"]
    names += ["gateway", "kong_admin"] if plan.nodes[0].gateway.kind != "running" else []
    names += ["redis"] if plan.own_redis else []
    names += ["postgres"] if plan.own_postgres else []
    return names


def _socket_folder(run: Path) -> Path:
    return run if len(str(run).encode()) <= _LONGEST_SOCKET_FOLDER else Path(tempfile.mkdtemp(prefix="bursar-"))
