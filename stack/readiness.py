"""Whether a program answers yet, asked from outside as its clients will ask."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

import httpx

from stack.errors import StartError

_LOOK_EVERY_S: Final = 0.05
_ANSWER_WITHIN_S: Final = 2


def eventually(look: Callable[[], bool], what: str, *, within_s: float) -> None:
    """Look again and again until it is true.

    Raises:
        StartError: it was not, in all that time.
    """
    give_up_s = time.monotonic() + within_s
    while not look():
        if time.monotonic() > give_up_s:
            raise StartError(f"{what} does not answer after {within_s:.0f} s")
        time.sleep(_LOOK_EVERY_S)


def answers(ask: Callable[[], object], *refusals: type[Exception]) -> bool:
    """Whether asking succeeds; an exception of another kind than a refusal is a fault of ours."""
    try:
        ask()
    except refusals:
        return False
    return True


def http_answers(url: str, *, status: int = 200, method: str = "GET") -> bool:
    """Whether this page answers with this very status."""
    try:
        return httpx.request(method, url, timeout=_ANSWER_WITHIN_S).status_code == status
    except httpx.TransportError:
        return False


def redis_answers(url: str) -> bool:
    """Whether the Redis at this URL is reachable, accepts its password and has loaded its data."""
    place = urlsplit(url)
    host = place.hostname or "localhost"
    hello = b"PING\r\n"
    if place.password:
        user, password = place.username or "default", unquote(place.password)
        hello = _command("AUTH", user, password) + hello
    try:
        with socket.create_connection((host, place.port or 6379), _ANSWER_WITHIN_S) as plain:
            line = ssl.create_default_context().wrap_socket(plain, server_hostname=host) if _is_secure(place) else plain
            line.sendall(hello)
            return _reads_pong(line)
    except OSError:
        return False


def _is_secure(place: SplitResult) -> bool:
    return place.scheme == "rediss"


def _reads_pong(line: socket.socket) -> bool:
    heard = b""
    while not heard.endswith(b"+PONG\r\n"):
        piece = line.recv(4096)
        heard += piece
        if not piece or b"-" in heard:
            return False
    return True


def _command(*words: str) -> bytes:
    encoded = [word.encode() for word in words]
    return b"".join([b"*%d\r\n" % len(encoded), *(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)])
