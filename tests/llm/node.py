"""The settings and connections that the entry files share, for one test's node."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from kong_plugins.llm import node
from tests.llm.cast import CREDENTIAL_KEY
from tests.llm.gateway import PEPPER

_MADE_ONCE = (
    *(node.settings, node.store, node.authenticator, node.admission, node.observer),
    *(node.access_tokens, node.outbox, node.marks),
)


@contextmanager
def node_of(redis_address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the entry files find this Redis."""
    monkeypatch.setenv("REDIS_URL", redis_address)
    monkeypatch.setenv("BURSAR_REDIS_TIMEOUT_MS", "5000")
    monkeypatch.setenv("BURSAR_KEY_PEPPER", PEPPER)
    monkeypatch.setenv("BURSAR_CREDENTIAL_KEY", CREDENTIAL_KEY)
    for made_once in _MADE_ONCE:
        made_once.cache_clear()
    yield
    node.access_tokens().close()
    node.outbox("llm-rate-limit").close()
    node.store().close()
    for made_once in _MADE_ONCE:
        made_once.cache_clear()
