"""The access tokens that this process holds, for providers that take no key; they are fetched beside the requests.

A token is in the memory of the one process that puts it on requests, and nowhere else. A call never waits for one: it
is told to come again where there is none, and a new one is fetched long before the present one ends.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from kong_plugins.llm.errors import PolicyUnavailable
from kong_plugins.llm.oauth import AccessToken, EntraClient, ServiceAccount, TokenRequest, TokenUnavailable, fetch_token

logger = logging.getLogger(__name__)

TokenSource = ServiceAccount | EntraClient

# A call may be on its way for a while, in a line of ours among others, before its token is looked at.
_MARGIN_MS: Final = 120_000
_FIRST_PAUSE_MS: Final = 1_000
_LONGEST_PAUSE_MS: Final = 60_000
_LOOK_EVERY_S: Final = 5.0


class _Held:
    """What is known of one source; instants are on the clock that nobody can set."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.value: str | None = None
        self.good_until_ms = 0
        self.due_at_ms = 0
        self.failures = 0
        self.is_underway = False


class AccessTokens:
    """The tokens by where they come from. `spawn` runs what waits for an endpoint beside everything else; `now_ms` is
    the clock of the world, `elapsed_ms` one that nobody can set."""

    def __init__(
        self,
        *,
        fetch: Callable[[TokenRequest], AccessToken] = fetch_token,
        spawn: Callable[[Callable[[], None]], object] = lambda work: threading.Thread(target=work, daemon=True).start(),
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        elapsed_ms: Callable[[], int] = lambda: time.monotonic_ns() // 1_000_000,
    ) -> None:
        self._fetch = fetch
        self._spawn = spawn
        self._now_ms = now_ms
        self._elapsed_ms = elapsed_ms
        self._held: dict[TokenSource, _Held] = {}
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, wanted: Callable[[], Mapping[TokenSource, str]]) -> None:
        """Fetch what is wanted, and what calls ask for, until closed; `wanted` names each source by its credential."""
        self._thread = threading.Thread(target=self._run, args=(wanted,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def has(self, source: TokenSource) -> bool:
        """Whether there is a token that is good for long enough."""
        held = self._held.get(source)
        return held is not None and held.value is not None and self._elapsed_ms() < held.good_until_ms

    def current(self, source: TokenSource, name: str) -> str:
        """The token, for a call that goes out now; `name` is that of its credential.

        Raises:
            PolicyUnavailable: there is none at the moment.
        """
        if self.has(source):
            value = self._held[source].value
            assert value is not None, "a source that has a token"
            return value
        held = self._held.setdefault(source, _Held(name))
        self._wake.set()
        pause_ms = max(_FIRST_PAUSE_MS, held.due_at_ms - self._elapsed_ms())
        raise PolicyUnavailable(
            "There is no access token for the provider at the moment. Try again.", retry_after_ms=pause_ms
        )

    def refresh(self, wanted: Mapping[TokenSource, str]) -> None:
        """Forget what is not wanted any more, and begin to fetch what is due."""
        self._held = {source: self._held.get(source) or _Held(name) for source, name in wanted.items()}
        for source, held in self._held.items():
            if not held.is_underway and held.due_at_ms <= self._elapsed_ms():
                held.is_underway = True
                self._spawn(partial(self._renew, source, held))

    def _renew(self, source: TokenSource, held: _Held) -> None:
        asked_at_ms = self._elapsed_ms()
        try:
            token = self._fetch(source.request(self._now_ms()))
        except (TokenUnavailable, ValueError) as error:
            held.failures += 1
            pause_ms = min(_FIRST_PAUSE_MS << min(held.failures, 10), _LONGEST_PAUSE_MS)
            held.due_at_ms = self._elapsed_ms() + pause_ms
            logger.error("no access token for the credential %s: %s", held.name, error)
        else:
            held.value, held.failures = token.value, 0
            held.good_until_ms = asked_at_ms + token.lifetime_ms - min(_MARGIN_MS, token.lifetime_ms // 4)
            held.due_at_ms = asked_at_ms + token.lifetime_ms // 2
        finally:
            held.is_underway = False

    def _run(self, wanted: Callable[[], Mapping[TokenSource, str]]) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                self.refresh(wanted())
            except PolicyUnavailable as error:
                # Redis is away; the tokens that are held have to last.
                logger.warning("which access tokens are needed is not known: %s", error)
                self.refresh({source: held.name for source, held in self._held.items()})
            except Exception:
                logger.exception("access tokens are renewed after an error")
            self._wake.wait(_LOOK_EVERY_S)
