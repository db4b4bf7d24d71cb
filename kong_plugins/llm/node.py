"""This gateway node: its settings and its connection to Redis, made once a process, when first needed.

Not at import: Kong asks for a plugin's description in a process that has no settings.
"""

from __future__ import annotations

from functools import cache

from kong_plugins.llm.admission import Admission
from kong_plugins.llm.authentication import Authenticator
from kong_plugins.llm.settings import EdgeSettings, edge_settings
from kong_plugins.llm.store import Store


@cache
def settings() -> EdgeSettings:
    return edge_settings()


@cache
def store() -> Store:
    return Store.from_url(settings().redis_url, timeout_ms=settings().redis_timeout_ms)


@cache
def authenticator() -> Authenticator:
    return Authenticator(store(), key_pepper=settings().key_pepper)


@cache
def admission() -> Admission:
    return Admission(store(), settings())
