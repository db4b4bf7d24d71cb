"""Every program of a system, as its plan wants it."""

from __future__ import annotations

from stack.gateway import gateway_program
from stack.plan import Node, Plan
from stack.ports import HOST
from stack.postgres import postgres_program
from stack.programs import Program, python, script
from stack.valkey import valkey_program


def databases(plan: Plan) -> list[Program]:
    """The servers of ours that keep data; none where REDIS_URL and DATABASE_URL name others."""
    programs = []
    if plan.own_redis:
        redis_password = plan.secrets["REDIS_PASSWORD"]
        programs.append(valkey_program(plan.run / "valkey", plan.ports.redis, redis_password))
    if plan.own_postgres:
        programs.append(postgres_program(plan.run / "postgres", plan.ports.postgres))
    return programs


def services(plan: Plan) -> list[Program]:
    """Everything else, in the order in which the log shows it."""
    programs = [_control_plane(plan), *_celery(plan), _ingest(plan), _provider(plan)]
    return [*programs, *(_gateway(node) for node in plan.nodes if node.gateway.kind != "running")]


def _gateway(node: Node) -> Program:
    return gateway_program(
        node.gateway, node.ports, name=node.name, prefix=node.prefix, edge_settings=node.edge_settings
    )


def _control_plane(plan: Plan) -> Program:
    command = script(
        "gunicorn",
        "--config=python:control_plane.server",
        f"--bind={HOST}:{plan.ports.control_plane}",
        "--workers=1",
        "--access-logfile=/dev/null",
        "--log-level=warning",
        "control_plane.wsgi",
    )
    return Program(name="control-plane", command=command, environment=plan.control_plane_environment)


def _celery(plan: Plan) -> list[Program]:
    """Worker and beat; threads, so that a worker that is killed leaves no children."""
    celery = script("celery", "--app=control_plane", "--quiet")
    alone = ("--without-gossip", "--without-mingle", "--without-heartbeat")
    worker = [*celery, "worker", "--pool=threads", "--concurrency=2", *alone, "--loglevel=WARNING"]
    (plan.run / "celery").mkdir(exist_ok=True)
    beat = [*celery, "beat", f"--schedule={plan.run / 'celery' / 'schedule'}", "--pidfile=", "--loglevel=WARNING"]
    # As root, Celery would begin its log with a page of warning against it.
    quiet = plan.control_plane_environment | {"PYTHONWARNINGS": "ignore:You"}
    return [
        Program(name="worker", command=worker, environment=quiet),
        Program(name="beat", command=beat, environment=plan.control_plane_environment),
    ]


def _ingest(plan: Plan) -> Program:
    # A name that stays: after a restart the process goes on at once with what it had read.
    command = python("manage.py", "ingest", "--consumer=ingest-1")
    return Program(name="ingest", command=command, environment=plan.control_plane_environment)


def _provider(plan: Plan) -> Program:
    first_token_ms, token_ms = plan.provider_pace
    pace = [f"--first-token-ms={first_token_ms}", f"--token-ms={token_ms}"]
    return Program(name="provider", command=python("-m", "demo.simulator", f"--port={plan.ports.provider}", *pace))
