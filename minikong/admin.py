"""The part of Kong's Admin API that a release needs: GET /, GET /status, POST /config."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec

from minikong import KONG_VERSION, SERVER_TOKEN
from minikong.answer import Send
from minikong.client_watch import Receive
from minikong.configuration import Compiler, Configuration, text_hash
from minikong.errors import ConfigurationError, LuaFault
from minikong.log import NOTICE, logger
from minikong.pdk.client import NODE_ID
from minikong.plan import Plugin
from minikong.plugin_server import PluginServer
from minikong.proxy import Proxy
from minikong.remote_plugin import RemotePlugin
from minikong.rpc import NoAnswer, PluginRpc

# nginx_admin_client_max_body_size in Kong's defaults.
_MOST_BYTES: Final = 10 * 1024**2
_ANSWER_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Reply:
    """A status and what is sent as JSON; None is no body."""

    status: int
    content: Any = None


class Admin:
    """Serves the Admin API over the gateway's parts."""

    def __init__(
        self,
        proxy: Proxy,
        compiler: Compiler,
        plugins: Sequence[Plugin],
        servers: Sequence[PluginServer],
        count_requests: Callable[[], int],
    ) -> None:
        self._proxy = proxy
        self._compiler = compiler
        self._plugins = plugins
        self._servers = servers
        self._count_requests = count_requests

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        reply = await self._reply(scope, receive)
        body = b"" if reply.content is None else msgspec.json.encode(reply.content)
        headers = [
            (b"content-type", b"application/json; charset=utf-8"),
            (b"content-length", b"%d" % len(body)),
            (b"server", SERVER_TOKEN.encode()),
        ]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _reply(self, scope: Any, receive: Receive) -> Reply:
        match scope["path"].rstrip("/"), scope["method"]:
            case "", "GET":
                return Reply(200, self._about())
            case "/status", "GET":
                return Reply(200, await self._status())
            case "/config", "POST":
                return await self._post_config(scope, receive)
            case "" | "/status" | "/config", _:
                return Reply(405, {"message": "Method not allowed"})
        return Reply(404, {"message": "Not found"})

    def _about(self) -> dict[str, Any]:
        available = {plugin.name: {"version": plugin.version, "priority": plugin.priority} for plugin in self._plugins}
        enabled = sorted({plugin.name for plugin in self._proxy.configuration.declaration.plugins})
        return {
            "tagline": "minikong: a small Kong for one machine",
            "version": KONG_VERSION,
            "edition": "minikong",
            "hostname": socket.gethostname(),
            "node_id": NODE_ID,
            "plugins": {"available_on_server": available, "enabled_in_cluster": enabled},
        }

    async def _status(self) -> dict[str, Any]:
        rpcs = [plugin.rpc for plugin in self._plugins if isinstance(plugin, RemotePlugin)]
        answers = dict(zip([rpc.socket for rpc in rpcs], await asyncio.gather(*map(_does_answer, rpcs)), strict=True))
        return {
            "server": {"total_requests": self._count_requests()},
            "configuration_hash": self._proxy.configuration.hash,
            "plugin_servers": {
                server.settings.name: {"pid": server.pid, "answers": answers.get(server.settings.socket, False)}
                for server in self._servers
            },
        }

    async def _post_config(self, scope: Any, receive: Receive) -> Reply:
        body = await _read(receive)
        if body is None:
            return Reply(413, {"message": "Payload too large"})
        wants_check = parse_qs(scope["query_string"].decode("latin-1")).get("check_hash") == ["1"]
        try:
            configuration = self._compile(body, wants_check)
        except (ConfigurationError, UnicodeDecodeError) as error:
            logger.warning("POST /config refused: %s", error)
            return Reply(
                400,
                {
                    "message": f"declarative config is invalid: {error}",
                    "name": "invalid declarative configuration",
                    "code": 14,
                },
            )
        if configuration is None:
            return Reply(304)
        _announce(configuration)
        self._proxy.configuration = configuration
        return Reply(201, configuration.entities())

    def _compile(self, body: bytes, wants_check: bool) -> Configuration | None:
        """The posted configuration, or None where its text is the one that is served already.

        A document that is posted as such, not as a text, has no text to compare: Kong takes it every time.
        """
        posted = _json_object(body)
        if "_format_version" in posted:
            return self._compiler.compile_document(posted)
        text = str(posted["config"]) if "config" in posted else body.decode()
        if not text.strip():
            raise ConfigurationError("expected a declarative configuration")
        wants_check = wants_check or str(posted.get("check_hash")) == "1"
        if wants_check and text_hash(text) == self._proxy.configuration.hash:
            return None
        return self._compiler.compile_text(text)


def _announce(configuration: Configuration) -> None:
    for notice in configuration.declaration.notices():
        logger.log(NOTICE, "declarative config: %s", notice)
    logger.log(NOTICE, "declarative config loaded, hash %s", configuration.hash)


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.MsgspecError:
        return {}


async def _read(receive: Receive) -> bytes | None:
    """The whole body, or None where it is too large."""
    body = bytearray()
    while len(body) <= _MOST_BYTES:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return bytes(body)
    return None


async def _does_answer(rpc: PluginRpc) -> bool:
    """Whether a plugin server answers any call, be it with an error."""
    try:
        await asyncio.wait_for(rpc.call("plugin.GetStatus", None), _ANSWER_SECONDS)
    except NoAnswer as error:
        return error.was_said
    except (TimeoutError, LuaFault):
        return False
    return True
