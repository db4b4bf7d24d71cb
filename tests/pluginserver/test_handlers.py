"""A handler ends in its own answer or in a refusal, and never harms the next request."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.pluginserver.conftest import Running, running
from tests.pluginserver.kong import RemoteError
from tests.servers import eventually


def assert_refused(calls: list[tuple[Any, ...]]) -> None:
    method, status, body, headers = calls[-1]
    assert (method, status) == ("kong.response.exit", 503)
    assert headers["retry-after"] == "1"
    assert headers["x-should-retry"] == "true"
    error = json.loads(body)["error"]
    assert (error["code"], error["param"]) == ("policy_unavailable", None)
    assert {"message", "type"} < set(error)


def test_a_handler_asks_kong_and_is_answered(server: Running) -> None:
    worker = server.worker()

    calls = worker.run(worker.start_instance(), answers={"kong.request.get_headers": {"host": ["a"]}})

    assert calls == [("kong.request.get_headers",), ("kong.ctx.shared.set", "headers", {"host": ["a"]})]


@pytest.mark.parametrize("behaviour", ["raise_first", "raise_later", "send_nonsense"])
def test_a_handler_that_fails_refuses_its_request_and_only_its_own(server: Running, behaviour: str) -> None:
    worker = server.worker()
    failing, sound = worker.start_instance(behaviour=behaviour), worker.start_instance()

    calls = worker.run(failing)

    assert_refused(calls)
    assert "kong.log.err" in [call[0] for call in calls]
    assert worker.run(sound)[-1][0] == "kong.ctx.shared.set"
    assert server.worker().run(sound)[-1][0] == "kong.ctx.shared.set"


def test_a_handler_that_fails_refuses_in_the_words_of_its_route(server: Running) -> None:
    worker = server.worker()

    calls = worker.run(worker.start_instance(behaviour="raise_first", protocol="anthropic_messages"))

    _, status, body, _ = calls[-1]
    answer = json.loads(body)
    assert (status, answer["type"], answer["error"]["type"]) == (503, "error", "api_error")


@pytest.mark.parametrize("behaviour", ["raise_first", "raise_later", "hang"])
def test_a_handler_that_only_observes_lets_its_request_go_on(tmp_path: Any, behaviour: str) -> None:
    with running(tmp_path, "--answer-timeout", "0.2") as server:
        worker = server.worker()

        calls = worker.run(worker.start_instance(behaviour=behaviour, mode="observe"))

        assert "kong.response.exit" not in [call[0] for call in calls]
        assert len(worker.run(worker.start_instance())) == 2


def test_a_log_handler_that_fails_is_reported_with_its_traceback(server: Running) -> None:
    worker = server.worker()

    calls = worker.run(worker.start_instance(behaviour="raise_later"), "log")

    (_, report) = calls[-1]
    assert [call[0] for call in calls] == ["kong.request.get_headers", "kong.log.err"]
    assert "Traceback" in report
    assert "the handler's own fault" in report


@pytest.mark.parametrize("behaviour", ["exit", "exit_in_try"])
def test_an_exit_ends_its_handler(server: Running, behaviour: str) -> None:
    worker = server.worker()

    event_id, message = worker.begin(worker.start_instance(behaviour=behaviour))
    if behaviour == "exit":
        message = worker.step(event_id)

    assert message == {"Method": "kong.response.exit", "Args": [429, "slow down"]}
    with pytest.raises(RemoteError, match="not found"):
        worker.step(event_id)


def test_handlers_work_at_the_same_time_before_their_first_call(server: Running) -> None:
    workers = [server.worker() for _ in range(8)]
    instance_id = workers[0].start_instance(behaviour="meet")

    with ThreadPoolExecutor(len(workers)) as requests:
        results = list(requests.map(lambda worker: worker.run(instance_id), workers))

    assert results == [[("kong.log.notice", "met")]] * len(workers)


def test_a_handler_that_takes_too_long_is_refused_before_kong_gives_up(tmp_path: Any) -> None:
    with running(tmp_path, "--answer-timeout", "0.2") as server:
        worker = server.worker()
        slow, sound = worker.start_instance(behaviour="hang"), worker.start_instance()

        assert_refused(worker.run(slow))
        assert worker.run(slow, "log") == []
        assert len(worker.run(sound)) == 2


def test_a_handler_whose_request_is_gone_ends_at_its_next_call(server: Running) -> None:
    """Kong closes the connection in the middle of a call where the client has left it."""
    leaving, staying = server.worker(), server.worker()
    beating, telling = staying.start_instance(behaviour="beat"), staying.start_instance(behaviour="tell_ended")
    event_id, _ = leaving.begin(beating)
    leaving.send("plugin.Step", {"EventId": event_id})

    leaving.close()

    eventually(lambda: staying.run(telling) == [("kong.ctx.shared.set", "ended", ["beating"])], "the handler has ended")
    with pytest.raises(RemoteError, match="not found"):
        staying.step(event_id)


def test_text_that_is_no_utf8_passes_both_ways_unchanged(server: Running) -> None:
    worker = server.worker()
    headers = {"x-name": [b"caf\xe9 \xff".decode("utf-8", "surrogateescape")]}

    calls = worker.run(worker.start_instance(), answers={"kong.request.get_headers": headers})

    assert calls[-1] == ("kong.ctx.shared.set", "headers", headers)


def test_a_message_larger_than_the_sockets_buffer_arrives_whole(server: Running) -> None:
    worker = server.worker()

    calls = worker.run(worker.start_instance(behaviour="send_much"))

    assert calls == [("kong.service.request.set_raw_body", b"x" * 4_000_000)]


def test_a_closed_instance_is_gone_in_the_words_that_make_kong_start_another(server: Running) -> None:
    worker = server.worker()
    instance_id = worker.start_instance()

    worker.call("plugin.CloseInstance", instance_id)

    with pytest.raises(RemoteError, match="no plugin instance"):
        worker.run(instance_id)
    with pytest.raises(RemoteError, match="no plugin instance"):
        worker.call("plugin.CloseInstance", instance_id)
