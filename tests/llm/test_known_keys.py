"""What is remembered of keys for when the store is away: the newest record, of those that were read last."""

from __future__ import annotations

import msgspec

from kong_plugins.llm.known_keys import MOST_REMEMBERED, KeyMemory
from tests.llm.gateway import Gateway


def test_a_record_that_was_overtaken_on_its_way_is_not_believed(gateway: Gateway) -> None:
    """Two requests read a key while it is being revoked, and the older answer comes last."""
    memory, record = KeyMemory(), gateway.key_record
    revoked = msgspec.structs.replace(record, version=2, active=False)

    memory.keep(record.id, revoked, 1000)
    memory.keep(record.id, record, 1000)

    assert memory.recall(record.id, 1000) == revoked


def test_a_key_that_the_store_no_longer_knows_is_forgotten(gateway: Gateway) -> None:
    memory, record = KeyMemory(), gateway.key_record
    memory.keep(record.id, record, 1000)

    memory.keep(record.id, None, 1001)

    assert memory.recall(record.id, 1001) is None


def test_only_the_keys_that_were_read_last_are_remembered(gateway: Gateway) -> None:
    memory, record = KeyMemory(), gateway.key_record
    for number in range(MOST_REMEMBERED):
        memory.keep(f"key-{number}", record, 1000)
    memory.keep("key-0", record, 1000)

    memory.keep("one-more", record, 1000)

    assert memory.recall("key-1", 1000) is None
    assert memory.recall("key-0", 1000) == memory.recall("one-more", 1000) == record
