"""Nothing of a finished or deserted request stays behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gevent
from kong_pdk.module import Module

from kong_plugins.pluginserver.server import HardenedPluginServer

TRIAL = Path(__file__).with_name("trial.py")


def serving(behaviour: str, **timeouts: float) -> tuple[HardenedPluginServer, int]:
    module = Module("trial", path=str(TRIAL))
    server = HardenedPluginServer(module, **{"answer_timeout_s": 5.0, **timeouts})
    started = server.start_instance({"Name": "trial", "Config": f'{{"behaviour":"{behaviour}"}}'})
    return server, started["Id"]


def finish(server: HardenedPluginServer) -> None:
    """Let every greenlet end that can, and see that all could."""
    assert server.handlers.join(timeout=5)
    assert len(server.handlers) == 0
    assert server.events == {}


def access(server: HardenedPluginServer, instance_id: int) -> Any:
    return server.handle_event({"InstanceId": instance_id, "EventName": "access"})


def test_requests_that_exit_leave_nothing() -> None:
    server, instance_id = serving("exit")

    for _ in range(200):
        event = access(server, instance_id)
        assert server.step({"EventId": event["EventId"], "Data": {}})["Data"]["Args"][0] == 429

    finish(server)


def test_requests_that_exit_with_their_first_call_leave_nothing() -> None:
    server, instance_id = serving("exit_in_try")

    for _ in range(200):
        assert access(server, instance_id)["Data"]["Args"][0] == 429

    finish(server)


def test_requests_that_pass_and_requests_that_fail_leave_nothing() -> None:
    for behaviour in ("pass_on", "raise_first", "raise_later", "send_nonsense"):
        server, instance_id = serving(behaviour)
        message = access(server, instance_id)
        while message["Data"] != "ret" and message["Data"]["Method"] != "kong.response.exit":
            message = server.step({"EventId": message["EventId"]})
        finish(server)


def test_a_request_that_kong_dropped_is_dropped_here() -> None:
    server, instance_id = serving("pass_on", step_timeout_s=0.02)

    access(server, instance_id)
    assert len(server.events) == 1

    finish(server)


def test_a_handler_that_kong_gave_up_is_ended() -> None:
    server, instance_id = serving("hang", answer_timeout_s=0.02)
    waiting = gevent.spawn(access, server, instance_id)

    assert waiting.get(timeout=5)["Data"]["Method"] == "kong.response.exit"

    finish(server)
