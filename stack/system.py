"""The whole system as one thing that starts, says when it is ready, and stops."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

import httpx
import psycopg

from demo.company import seed_company
from demo.seed import SeedError, seed
from stack.errors import StartError
from stack.gateway import CONFIGURATION
from stack.layout import databases, services
from stack.plan import Node, Plan, make_plan
from stack.ports import Ports, free_ports
from stack.postgres import create_database, initialise
from stack.programs import REPOSITORY, python
from stack.readiness import answers, eventually, http_answers, redis_answers
from stack.run_folder import RunFolder
from stack.secret_file import write_settings
from stack.supervision import Supervisor

_START_WITHIN_S: Final = 60
_MOST_STARTS: Final = 3
_SETTLED_AFTER_S: Final = 3
_LOG_TAIL_CHARACTERS: Final = 3_000
PROGRAM_NAMES: Final = ("valkey", "postgres", "control-plane", "worker", "beat", "ingest", "provider", "gateway")
_ORGANIZATION: Final = ("--organization=acme", "--name=Acme Corp", "--time-zone=Europe/Berlin")


class Stack:
    """Bursar on this machine: databases, control plane, gateways and a provider.

    `settings` goes over the environment, an empty value unsets: BURSAR_… for the programs, REDIS_URL and DATABASE_URL
    for servers of yours, BURSAR_GATEWAY and KONG_… for another gateway. Without `ports` it takes free ones.
    With `company`, the demo's company is put in, and a month of its calls. Of several `gateways` each is as if on a
    machine of its own. `ready` is what `ready.json` says.
    """

    def __init__(
        self,
        run: Path,
        *,
        ports: Ports | None = None,
        gateways: int = 1,
        settings: Mapping[str, str] | None = None,
        company: bool = False,
        say: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self.ready: dict[str, Any] = {}
        self._folder = RunFolder(run)
        self._ports = ports or free_ports()
        self._gateways = gateways
        self._environment = {name: value for name, value in {**os.environ, **(settings or {})}.items() if value}
        self._company = company
        self._say = say
        self._plan: Plan | None = None
        self._supervisor: Supervisor | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything and return when all of it answers; after a failure, nothing is left running.

        Raises:
            StackError: it did not come up.
        """
        try:
            self._start()
        except SeedError as error:
            self.stop()
            raise StartError(f"the demo's data could not be put in: {error}") from error
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop everything in good order, Postgres last. Stopping twice is fine."""
        self.ready = {}
        if self._supervisor is not None:
            self._supervisor.stop()
            self._supervisor = None
        if self._plan is not None and self._plan.sockets != self._plan.run:
            shutil.rmtree(self._plan.sockets, ignore_errors=True)
        self._folder.leave()

    @property
    def control_plane_environment(self) -> Mapping[str, str]:
        """What a management command needs to know of this system."""
        assert self._plan is not None
        return self._plan.control_plane_environment

    def is_alive(self) -> bool:
        """Whether the supervisor lives, which in turn keeps the programs alive."""
        return self._supervisor is not None and self._supervisor.is_alive()

    def process_id(self, name: str) -> int | None:
        """The process that runs a program now (layout.py has their names), or None between two lives."""
        assert self._supervisor is not None
        return self._supervisor.process_id(name)

    def _start(self) -> None:
        self._folder.take()
        self._plan = plan = make_plan(self._folder.path, self._ports, self._environment, gateways=self._gateways)
        if plan.own_postgres and not (plan.run / "postgres").exists():
            self._say("making a database cluster")
            initialise(plan.run / "postgres", plan.secrets["POSTGRES_PASSWORD"])
        for node in plan.nodes:
            node.folder.mkdir(mode=0o700, exist_ok=True)
            write_settings(node.edge_settings, plan.edge_environment(node))
        servers, others = databases(plan), services(plan)
        self._supervisor = Supervisor(
            plan.run, plan.sockets / "supervisor.sock", [*servers, *others], self._environment
        )
        self._supervisor.start()
        self._supervisor.run(*(program.name for program in servers))
        early = {"provider", *(node.name for node in plan.nodes)}
        self._supervisor.run(*(program.name for program in others if program.name in early))
        self._await_databases(plan)
        self._supervisor.run("control-plane")
        may_admit = self._migrate(plan)
        self._supervisor.run("worker", "beat", "ingest")
        if not may_admit:
            self._say("Redis has lost its counters: rebuilding them from the ledger")
            self._manage(plan, "rebuild_counters")
        self._seed(plan)
        for node in plan.nodes:
            self._await_gateway(node)
        for running in ("worker", "beat", "ingest"):
            self._await(running, partial(self._has_settled, running), running)
        self.ready = self._description(plan)
        self._folder.say_ready(self.ready)

    def _await_databases(self, plan: Plan) -> None:
        redis, postgres = ("valkey" if plan.own_redis else None), ("postgres" if plan.own_postgres else None)
        self._await(redis, lambda: redis_answers(plan.redis_url), "Redis")
        self._await(
            postgres, lambda: answers(lambda: create_database(plan.database_url), psycopg.OperationalError), "Postgres"
        )

    def _migrate(self, plan: Plan) -> bool:
        """Bring the database up to date; return whether gateways may admit calls."""
        self._say("migrating the database")
        self._manage(plan, "migrate", "--no-input")
        said = self._manage(plan, "bootstrap", *_ORGANIZATION, "--skip-checks")
        is_ready: bool = json.loads(said.strip().splitlines()[-1])["ready"]
        return is_ready

    def _manage(self, plan: Plan, *arguments: str) -> str:
        """Run a management command; return what it printed."""
        given = {name: plan.secrets[name] for name in ("BURSAR_ADMIN_PASSWORD", "BURSAR_API_TOKEN")}
        done = subprocess.run(
            python("manage.py", *arguments),
            cwd=REPOSITORY,
            env=self._environment | plan.control_plane_environment | given,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise StartError(f"manage.py {arguments[0]} failed:\n{(done.stdout + done.stderr)[-_LOG_TAIL_CHARACTERS:]}")
        return done.stdout

    def _seed(self, plan: Plan) -> None:
        health = f"{plan.control_plane_url}/api/v1/health"
        self._await("control-plane", lambda: http_answers(health), "the control plane")
        self._await("provider", lambda: http_answers(plan.provider_url), "the provider")
        self._say("seeding teams, keys, budgets and limits")
        keys = seed(
            control_plane_url=plan.control_plane_url,
            api_token=plan.secrets["BURSAR_API_TOKEN"],
            provider_url=plan.provider_url,
            known_keys=self._folder.known_keys(),
        )
        if self._company:
            keys |= self._seed_company(plan)
        self._folder.keep_keys(keys)

    def _seed_company(self, plan: Plan) -> dict[str, str]:
        """The rest of the demo's company; with the first start, the calls of its past too."""
        history = plan.run / "history.jsonl"
        keys, calls = seed_company(
            control_plane_url=plan.control_plane_url,
            api_token=plan.secrets["BURSAR_API_TOKEN"],
            password=plan.secrets["BURSAR_ADMIN_PASSWORD"],
            known_keys=self._folder.known_keys(),
            history=history,
        )
        if calls:
            self._say(f"putting in the company's last five weeks: {calls:,} calls")
            self._manage(plan, "import_events", str(history), "--organization=acme", "--skip-checks")
            self._manage(plan, "rebuild_counters", "--gateways-look-within=0", "--skip-checks")
            self._manage(plan, "forecast", "--skip-checks")
            history.unlink()
        return keys

    def _await_gateway(self, node: Node) -> None:
        gateway = node.gateway
        if gateway.kind == "running":
            configuration = {"config": CONFIGURATION.read_text()}
            httpx.post(f"{gateway.admin_url}/config", json=configuration, timeout=30).raise_for_status()
        name = None if gateway.kind == "running" else node.name
        self._await(name, lambda: http_answers(f"{gateway.admin_url}/status"), f"the {node.name}'s admin API")
        # A call without a key: its refusal comes from a plugin server, so those answer as well.
        chat = f"{gateway.proxy_url}/v1/chat/completions"
        self._await(name, lambda: http_answers(chat, method="POST", status=401), f"the {node.name}")

    def _has_settled(self, program: str) -> bool:
        """Whether a program that answers nobody has lived for a while."""
        assert self._supervisor is not None
        return time.time() - self._supervisor.started_at_s(program) >= _SETTLED_AFTER_S

    def _await(self, program: str | None, look: Callable[[], bool], what: str) -> None:
        """Wait until something answers; a program that keeps ending is not waited for."""
        assert self._supervisor is not None
        supervisor, starts = self._supervisor, set[int]()

        def look_closely() -> bool:
            if program is not None:
                starts.add(supervisor.started_at_s(program))
            if len(starts) > _MOST_STARTS:
                raise StartError(f"{program} keeps ending")
            return look()

        try:
            eventually(look_closely, what, within_s=_START_WITHIN_S)
        except StartError as error:
            raise StartError(f"{error}{self._last_words(program)}") from error

    def _last_words(self, program: str | None) -> str:
        log = self._folder.path / "logs" / f"{program}.log"
        return f"; its log ends with:\n{log.read_text()[-_LOG_TAIL_CHARACTERS:]}" if program and log.exists() else ""

    def _description(self, plan: Plan) -> dict[str, Any]:
        return {
            "gateway": plan.nodes[0].gateway.proxy_url,
            "gateways": {node.name: node.gateway.proxy_url for node in plan.nodes},
            "kong_admin": plan.nodes[0].gateway.admin_url,
            "control_plane": plan.control_plane_url,
            "provider": plan.provider_url,
            "admin": {"username": "admin", "password": plan.secrets["BURSAR_ADMIN_PASSWORD"]},
            "api_token": plan.secrets["BURSAR_API_TOKEN"],
            "keys": self._folder.known_keys(),
        }
