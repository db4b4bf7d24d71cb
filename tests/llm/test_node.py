"""A node whose journal has a folder: what its plugins grant and settle lies there before Redis is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kong_plugins.llm import node
from kong_plugins.llm.journal import Done, Held, Journal, Settled
from kong_plugins.llm.metering import settle
from tests.llm.gateway import Gateway, body, completion, finished
from tests.llm.node import node_of


@pytest.fixture
def folder(tmp_path: Path, redis_address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("BURSAR_JOURNAL_DIR", str(tmp_path))
    with node_of(redis_address, monkeypatch):
        yield tmp_path


def test_a_node_writes_down_what_it_grants_and_how_it_ends(folder: Path, gateway: Gateway) -> None:
    outbox = node.outbox("llm-rate-limit")
    caller = node.authenticator().authenticate({"authorization": [f"Bearer {gateway.key}"]})

    grant = node.admission().admit(caller, body(), "openai_chat")
    settle(outbox, finished(grant, completion()))
    outbox.close()

    [held, settled, done] = Journal(folder, "reader").records()
    assert isinstance(held, Held)
    assert isinstance(settled, Settled)
    assert isinstance(done, Done)
    assert held.request_id == settled.request_id == done.request_id == grant.meter.facts.request_id
