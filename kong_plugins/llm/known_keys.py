"""Which keys are in force: by the live state, and for a short while by what was last read of it."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

from kong_plugins.llm.errors import BursarError, InvalidApiKey, PolicyUnavailable, StoreUnavailable
from kong_plugins.llm.keys import KeyRecord
from kong_plugins.llm.store import Store

_RETRY_AFTER_MS: Final = 1000
# While the store is away, a key is taken for what it was when it was last read, at most so long ago.
REMEMBERED_MS: Final = 60_000
MOST_REMEMBERED: Final = 10_000
_NO_RECORD: Final = KeyRecord(
    id="", version=0, digest="0" * 64, organization="", team="", name="", tier="normal", active=False
)


class KeyMemory:
    """The records that the store has last given, for when it is away."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: OrderedDict[str, tuple[KeyRecord, int]] = OrderedDict()

    def keep(self, key_id: str, record: KeyRecord | None, at_ms: int) -> None:
        """Remember what was read, None where there is no such key. An older version that comes late is not believed."""
        with self._lock:
            known, _ = self._records.pop(key_id, (None, 0))
            if record is None:
                return
            if known is None or known.version <= record.version:
                known = record
            self._records[key_id] = known, at_ms
            if len(self._records) > MOST_REMEMBERED:
                self._records.popitem(last=False)

    def recall(self, key_id: str, at_ms: int) -> KeyRecord | None:
        """The record, if it was read a short while ago."""
        record, read_at_ms = self._records.get(key_id, (None, 0))
        return record if at_ms - read_at_ms <= REMEMBERED_MS else None


class KeyInForce(NamedTuple):
    """The record of a key that is in force, and the generation of the secret for which it is."""

    record: KeyRecord
    generation: int


class KnownKeys:
    """The records of keys that are in force; `now_ms` is the clock that keys expire by, `elapsed_ms` one that nobody
    can set."""

    def __init__(
        self,
        store: Store,
        *,
        now_ms: Callable[[], int],
        elapsed_ms: Callable[[], int] = lambda: time.monotonic_ns() // 1_000_000,
    ) -> None:
        self._store = store
        self._now_ms = now_ms
        self._elapsed_ms = elapsed_ms
        self._memory = KeyMemory()

    def with_secret(self, key_id: str, digest: str) -> KeyInForce:
        """A key that has shown a secret with this digest.

        Raises:
            InvalidApiKey: it is unknown, inactive or expired, or has no such secret, or not any more.
            PolicyUnavailable: the store does not answer, and the key was not read shortly before.
        """
        return self._in_force(key_id, lambda record, at_ms: record.generation_of(digest, at_ms=at_ms))

    def still_in_force(self, key_id: str, generation: int) -> KeyRecord:
        """The record of a key that has shown the secret of this generation some time ago.

        Raises:
            InvalidApiKey, PolicyUnavailable: as above.
        """

        def generation_of(record: KeyRecord, at_ms: int) -> int | None:
            return generation if record.has_secret(generation, at_ms=at_ms) else None

        return self._in_force(key_id, generation_of).record

    def _in_force(self, key_id: str, generation_of: Callable[[KeyRecord, int], int | None]) -> KeyInForce:
        """The key, if it has the secret that is asked for, which is asked of every one, also where there is none."""
        at_ms = self._elapsed_ms()
        try:
            record = self._store.get_key(key_id)
        except StoreUnavailable as error:
            # Not "invalid" where it is not good: Redis may know it, or know better.
            return self._good(self._memory.recall(key_id, at_ms), generation_of, _unknown_key(error))
        self._memory.keep(key_id, record, at_ms)
        return self._good(record, generation_of, invalid_key())

    def _good(
        self,
        record: KeyRecord | None,
        generation_of: Callable[[KeyRecord, int], int | None],
        refusal: BursarError,
    ) -> KeyInForce:
        """The key, if it has the secret and is in force; else the refusal is raised."""
        record, now_ms = record or _NO_RECORD, self._now_ms()
        generation = generation_of(record, now_ms)
        expired = record.expires_at_ms is not None and record.expires_at_ms <= now_ms
        if generation is None or not record.active or expired:
            raise refusal
        return KeyInForce(record, generation)


def invalid_key() -> InvalidApiKey:
    """The answer to every key that is not in force, whatever the reason."""
    return InvalidApiKey("The API key is not valid. Ask the owner of your team for a key that is in force.")


def _unknown_key(cause: StoreUnavailable) -> PolicyUnavailable:
    error = PolicyUnavailable("Keys cannot be checked at the moment. Try again.", retry_after_ms=_RETRY_AFTER_MS)
    error.__cause__ = cause
    return error
