"""One process's connection to Redis: the only module that imports its client.

Everything that goes through it may be repeated, so a call whose answer was lost is simply made again.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.retry import Retry

from kong_plugins.llm.breaker import Breaker
from kong_plugins.llm.errors import StoreClosed, StoreUnavailable
from kong_plugins.llm.scripts import lua_file, script_source

_UNANSWERED: Final = (redis.ConnectionError, redis.TimeoutError)
_Answer = TypeVar("_Answer")


class Connection:
    """A client with its scripts. `clock` is Lua that defines `now_ms`; by default Redis' own time."""

    def __init__(self, client: redis.Redis, *, clock: str | None = None) -> None:
        # Untyped: redis-py's types of an answer are those of all protocols and options at once.
        self.redis: Any = client
        timeout_s = client.get_connection_kwargs().get("socket_timeout") or 60
        self.longest_block_ms = int(timeout_s * 500)
        self._clock = clock if clock is not None else lua_file("clock")
        self._scripts: dict[str, _Script] = {}
        # A ping may have to connect first.
        self._breaker = Breaker(self._answers, longest_ping_s=2 * timeout_s)
        self._is_closed = False
        self._listeners = 0
        self._listeners_left = threading.Condition()

    @classmethod
    def from_url(cls, url: str, *, timeout_ms: int, clock: str | None = None) -> Connection:
        # redis-py would retry by itself ten times, with pauses that a request cannot wait for.
        client = redis.Redis.from_url(
            url,
            socket_timeout=timeout_ms / 1000,
            socket_connect_timeout=timeout_ms / 1000,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
        return cls(client, clock=clock)

    def run(self, name: str, names: list[str], arguments: list[Any]) -> Any:
        """Run one of our scripts; raises StoreUnavailable."""
        script = self._script(name)
        return self.call(lambda: script.run(self.redis, names, arguments))

    def run_each(self, name: str, calls: Sequence[tuple[list[str], list[Any]]]) -> list[Any]:
        """Run one of our scripts many times over in one trip, each time with (names, arguments), and return the results
        in this order. The runs are not one transaction: others may come between them.

        Raises:
            StoreUnavailable: some of the runs may have been made.
        """
        script = self._script(name)
        return self.call(lambda: script.run_each(self.redis, calls))

    def _script(self, name: str) -> _Script:
        return self._scripts.get(name) or self._scripts.setdefault(name, _Script(script_source(name, self._clock)))

    def call(self, work: Callable[[], _Answer]) -> _Answer:
        """Do it, and once more if the connection failed; raises StoreUnavailable, and at once where others were just
        not answered."""
        self._breaker.check()
        try:
            answer = self._twice(work)
        except _UNANSWERED as error:
            self._breaker.failed()
            raise StoreUnavailable(str(error)) from error
        except RedisError as error:
            raise StoreUnavailable(str(error)) from error
        self._breaker.answered()
        return answer

    def _twice(self, work: Callable[[], _Answer]) -> _Answer:
        try:
            return work()
        except _UNANSWERED:
            return work()

    def _answers(self) -> bool:
        try:
            return bool(self.redis.ping())
        except RedisError:
            return False

    def close(self) -> None:
        """Close all connections, once those who listen have noticed and left theirs: redis-py would otherwise take
        them away from under their threads."""
        with self._listeners_left:
            self._is_closed = True
            self._listeners_left.wait_for(lambda: not self._listeners, timeout=self.longest_block_ms / 1000)
        self.redis.close()

    @contextmanager
    def listening(self, channel: str) -> Iterator[Callable[[float], bool]]:
        """Listen to a channel on a connection of its own, for as long as the context lasts. What it gives waits for so
        many seconds at most and says whether something was heard; the first thing is that one listens.

        Raises:
            StoreClosed: nobody will hear anything any more.
            StoreUnavailable: the connection cannot be made, or has failed.
        """
        with self._listener():
            subscription = self.redis.pubsub()
            try:
                self.call(lambda: subscription.subscribe(channel))
                yield lambda longest_s: self._is_heard(subscription, longest_s)
            finally:
                subscription.close()

    @contextmanager
    def _listener(self) -> Iterator[None]:
        with self._listeners_left:
            self._check_open()
            self._listeners += 1
        try:
            yield
        finally:
            with self._listeners_left:
                self._listeners -= 1
                self._listeners_left.notify_all()

    def _is_heard(self, subscription: Any, longest_s: float) -> bool:
        self._check_open()
        try:
            return subscription.get_message(timeout=longest_s) is not None
        except RedisError as error:
            raise StoreUnavailable(str(error)) from error

    def _check_open(self) -> None:
        if self._is_closed:
            raise StoreClosed("The store is closed.")

    def in_group(self, stream: str, group: str, work: Callable[[], _Answer]) -> _Answer:
        """Do something that needs a stream's consumer group, which is made on first use; raises StoreUnavailable."""

        def attempt() -> _Answer:
            try:
                return work()
            except ResponseError as error:
                if "NOGROUP" not in str(error) and "no such key" not in str(error):
                    raise
                self._make_group(stream, group)
                return work()

        return self.call(attempt)

    def _make_group(self, stream: str, group: str) -> None:
        try:
            self.redis.xgroup_create(stream, group, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise


class _Script:
    """A script by its digest; Redis is given the source only when it does not know it."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._digest = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()

    def run(self, client: Any, names: list[str], arguments: list[Any]) -> Any:
        try:
            return client.evalsha(self._digest, len(names), *names, *arguments)
        except NoScriptError:
            return client.eval(self._source, len(names), *names, *arguments)

    def run_each(self, client: Any, calls: Sequence[tuple[list[str], list[Any]]]) -> list[Any]:
        """The source goes ahead of the calls, since the first that Redis does not know would leave all undone."""
        pipeline = client.pipeline(transaction=False)
        pipeline.script_load(self._source)
        for names, arguments in calls:
            pipeline.evalsha(self._digest, len(names), *names, *arguments)
        results: list[Any] = pipeline.execute()
        return results[1:]
