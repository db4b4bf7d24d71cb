"""This gateway node: its settings and its connection to Redis, made once a process, when first needed.

Not at import: Kong asks for a plugin's description in a process that has no settings.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import gevent

from kong_plugins.llm.access_tokens import AccessTokens
from kong_plugins.llm.admission import Admission
from kong_plugins.llm.authentication import Authenticator
from kong_plugins.llm.journal import Journal
from kong_plugins.llm.marks import Marks
from kong_plugins.llm.observation import Observer
from kong_plugins.llm.outbox import Outbox
from kong_plugins.llm.settings import EdgeSettings, edge_settings
from kong_plugins.llm.store import Store
from kong_plugins.llm.tokens import warm_up


@cache
def settings() -> EdgeSettings:
    return edge_settings()


@cache
def store() -> Store:
    return Store.from_url(settings().redis_url, timeout_ms=settings().redis_timeout_ms)


@cache
def marks() -> Marks:
    return Marks(store())


@cache
def authenticator() -> Authenticator:
    return Authenticator(store(), key_pepper=settings().key_pepper)


@cache
def admission() -> Admission:
    warm_up()
    started = Admission(store(), settings(), outbox=outbox("llm-rate-limit"), tokens=access_tokens())
    access_tokens().start(started.token_sources)
    return started


@cache
def access_tokens() -> AccessTokens:
    """The access tokens of the process that puts them on requests."""
    return AccessTokens()


@cache
def observer() -> Observer:
    return Observer(store(), settings(), outbox=outbox("llm-rate-limit"))


@cache
def outbox(plugin: str) -> Outbox:
    """The outbox of this process, at work; `plugin` names its files."""
    folder = settings().journal_dir
    journal = (
        Journal(Path(folder), plugin, most_bytes=settings().journal_max_bytes, run_blocking=_run_blocking)
        if folder
        else None
    )
    started = Outbox(store(), journal)
    started.start()
    return started


def _run_blocking(work: Callable[[], None]) -> None:
    """In a real thread: a wait for the disk must not stop the requests."""
    gevent.get_hub().threadpool.apply(work)
