"""One call of a plugin's handler: a greenlet that asks Kong, one message at a time, and ends with its answer."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from queue import Empty
from typing import Any, Final

import msgpack
from gevent import Greenlet, GreenletExit
from gevent.queue import SimpleQueue
from kong_pdk.pdk import Kong
from kong_pdk.server import MSG_RET, terminal_methods

from kong_plugins.llm.errors import PolicyUnavailable
from kong_plugins.llm.protocols import wire_format

_logger = logging.getLogger(__name__)

# The phases that come before the provider. There, a handler that fails must refuse, or Kong goes on without it.
_DECIDING_PHASES: Final = frozenset({"rewrite", "access"})
_LONGEST_REPORT_CHARACTERS: Final = 2000
_RETURNED: Final[str] = MSG_RET

Message = dict[str, Any] | str


class Event:
    """A handler's run. kong_pdk's `Kong` object, which the handler gets, speaks through `put` and `get`."""

    def __init__(
        self,
        event_id: int,
        handler: Callable[[Any], None],
        phase: str,
        *,
        protocol: str,
        step_timeout_s: float,
        refuses: bool = True,
    ) -> None:
        """`refuses`: a request that the handler could not decide on must not go on; one that it only observes may."""
        self.event_id = event_id
        self._refuses = refuses and phase in _DECIDING_PHASES
        self._protocol = protocol
        self._handler = handler
        self._phase = phase
        self._step_timeout_s = step_timeout_s
        self._messages: SimpleQueue[Message] = SimpleQueue()
        self._answers: SimpleQueue[tuple[Any, Any] | None] = SimpleQueue()
        self._greenlet: Greenlet[[], None] | None = None
        self.is_over = False

    def start(self, greenlet: Greenlet[[], None]) -> None:
        self._greenlet = greenlet
        greenlet.start()

    def run(self) -> None:
        """The body of the handler's greenlet."""
        try:
            self._handler(Kong(self, lua_style=False).kong)
        except (GreenletExit, SystemExit):
            raise
        except BaseException as failure:
            self._fail(failure)
        else:
            self._send(_RETURNED)

    def put(self, message: dict[str, Any]) -> None:
        """The handler calls Kong. Does not return from a call that ends the request, nor once Kong is gone.

        Raises:
            TypeError, ValueError, OverflowError: an argument cannot travel; Kong has been sent nothing.
        """
        if self.is_over:
            raise GreenletExit
        pack(message)
        self._send(message)
        if self.is_over:
            raise GreenletExit

    def get(self) -> tuple[Any, Any]:
        """Kong's answer to the handler's call, as (data, error)."""
        try:
            answer: tuple[Any, Any] | None = self._answers.get(timeout=self._step_timeout_s)
        except Empty:
            _logger.warning("%s: Kong never answered a call, so its request is gone", self._phase)
            self.is_over = True
            raise GreenletExit from None
        if answer is None:
            raise GreenletExit
        return answer

    def answer(self, data: Any, error: Any) -> None:
        """Kong's answer has arrived."""
        self._answers.put((data, error))

    def hang_up(self) -> None:
        """Kong listens no more, as its request is gone: the call that the handler is in, or its next one, ends it.

        Not the handler itself at once: it may be at work that must not be torn, and clears up as it ends.
        """
        self.is_over = True
        self._answers.put(None)

    def next_message(self, timeout_s: float) -> Message:
        """What is to be told to Kong now. A handler that takes too long is ended with a refusal.

        Outside the deciding phases Kong is told that the handler has finished, and it goes on without Kong.
        """
        try:
            message: Message = self._messages.get(timeout=timeout_s)
        except Empty:
            _logger.error("%s: the handler did not answer within %s s", self._phase, timeout_s)
            message = self._give_up()
        return message

    def _give_up(self) -> Message:
        self.is_over = True
        if self._phase in _DECIDING_PHASES and self._greenlet is not None:
            self._greenlet.kill(block=False)
        if not self._refuses:
            return _RETURNED
        return {"Method": "kong.response.exit", "Args": self._refusal()}

    def _send(self, message: Message) -> None:
        self.is_over = self.is_over or is_last(message)
        self._messages.put(message)

    def _fail(self, failure: BaseException) -> None:
        _logger.error("%s: the handler failed", self._phase, exc_info=failure)
        kong = Kong(self, lua_style=False).kong
        # Kong shows what a plugin server prints at level info only; this shows at its own level, with the request.
        kong.log.err("".join(traceback.format_exception(failure))[-_LONGEST_REPORT_CHARACTERS:])
        if self._refuses:
            kong.response.exit(*self._refusal())
        self._send(_RETURNED)

    def _refusal(self) -> list[Any]:
        error = PolicyUnavailable("The request could not be decided on. Try again.", retry_after_ms=1000)
        body = wire_format(self._protocol).error_body(error)
        return [error.http_status, body, {"content-type": "application/json", **error.headers()}]


def pack(message: Any) -> bytes:
    """A message as Kong reads it. Text that came in as bytes outside UTF-8 goes back as these bytes."""
    packed: bytes = msgpack.packb(message, unicode_errors="surrogateescape")
    return packed


def is_last(message: Message) -> bool:
    """Whether Kong answers this message no more."""
    return isinstance(message, str) or message["Method"] in terminal_methods
