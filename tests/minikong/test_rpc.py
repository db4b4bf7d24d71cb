"""The protocol on the wire, against a server that says exactly what a test tells it to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgpack
import pytest

from minikong.errors import LuaFault
from minikong.rpc import NoAnswer, PluginRpc

Replier = Callable[[int, list[Any], asyncio.StreamWriter], Awaitable[None]]


class WireServer:
    """Counts connections and calls, and lets `reply` write what it likes for each call."""

    def __init__(self, reply: Replier) -> None:
        self._reply = reply
        self.connections: list[asyncio.Task[Any] | None] = []
        self.calls: list[list[Any]] = []

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(asyncio.current_task())
        unpacker = msgpack.Unpacker(unicode_errors="surrogateescape")
        while data := await reader.read(65536):
            unpacker.feed(data)
            for message in unpacker:
                self.calls.append(message)
                await self._reply(len(self.calls), message, writer)
        writer.close()
        await writer.wait_closed()


def with_server(
    path: Path, reply: Replier, check: Callable[[PluginRpc, WireServer], Awaitable[None]], timeout_ms: int = 5000
) -> None:
    async def run() -> None:
        wire = WireServer(reply)
        server = await asyncio.start_unix_server(wire.handle, str(path / "s"))
        rpc = PluginRpc(path / "s", timeout_ms)
        try:
            await check(rpc, wire)
        finally:
            rpc.close()
            server.close()
            await asyncio.gather(*filter(None, wire.connections))

    asyncio.run(run())


async def echo(_: int, message: list[Any], writer: asyncio.StreamWriter) -> None:
    writer.write(msgpack.packb([1, message[1], None, message[3][0]]))


async def acknowledge(_: int, message: list[Any], writer: asyncio.StreamWriter) -> None:
    writer.write(msgpack.packb([1, message[1], None, "ok"]))


def test_calls_share_connections_one_at_a_time_each(tmp_path: Path) -> None:
    async def check(rpc: PluginRpc, wire: WireServer) -> None:
        for number in range(3):
            assert await rpc.call("plugin.Step", {"n": number}) == {b"n": number}
        assert len(wire.connections) == 1
        await asyncio.gather(*[rpc.call("plugin.Step", number) for number in range(5)])
        assert len(wire.connections) == 5

    with_server(tmp_path, echo, check)


def test_a_request_is_a_list_of_four_with_a_rising_id(tmp_path: Path) -> None:
    async def check(rpc: PluginRpc, wire: WireServer) -> None:
        await rpc.call("plugin.HandleEvent", {"InstanceId": 0})
        await rpc.call("plugin.Step", {"Data": b"body", "Text": "\udcff"})
        assert wire.calls[0] == [0, 1, "plugin.HandleEvent", [{"InstanceId": 0}]]
        assert wire.calls[1] == [0, 2, "plugin.Step", [{"Data": b"body", "Text": "\udcff"}]]

    with_server(tmp_path, acknowledge, check)


def test_an_answer_may_come_byte_by_byte(tmp_path: Path) -> None:
    async def trickle(_: int, message: list[Any], writer: asyncio.StreamWriter) -> None:
        for byte in msgpack.packb([1, message[1], None, "x" * 50]):
            writer.write(bytes([byte]))
            await writer.drain()

    async def check(rpc: PluginRpc, _: WireServer) -> None:
        assert await rpc.call("plugin.Step", None) == b"x" * 50

    with_server(tmp_path, trickle, check)


def test_a_notification_before_the_answer_is_passed_over(tmp_path: Path) -> None:
    async def notify(_: int, message: list[Any], writer: asyncio.StreamWriter) -> None:
        writer.write(msgpack.packb([2, "serverPid", 7]) + msgpack.packb([1, message[1], None, "ok"]))

    async def check(rpc: PluginRpc, _: WireServer) -> None:
        assert await rpc.call("plugin.Step", None) == b"ok"

    with_server(tmp_path, notify, check)


def test_what_follows_an_answer_is_lost_with_its_call(tmp_path: Path) -> None:
    async def ramble(_: int, message: list[Any], writer: asyncio.StreamWriter) -> None:
        writer.write(msgpack.packb([1, message[1], None, "ok"]) + b"\xc1rest")

    async def check(rpc: PluginRpc, wire: WireServer) -> None:
        for _ in range(2):
            assert await rpc.call("plugin.Step", None) == b"ok"
        assert len(wire.connections) == 1

    with_server(tmp_path, ramble, check)


def test_an_error_is_said_and_the_connection_kept(tmp_path: Path) -> None:
    async def refuse(count: int, message: list[Any], writer: asyncio.StreamWriter) -> None:
        writer.write(msgpack.packb([1, message[1], "no plugin instance #3" if count == 1 else None, "ok"]))

    async def check(rpc: PluginRpc, wire: WireServer) -> None:
        with pytest.raises(NoAnswer, match="no plugin instance #3") as caught:
            await rpc.call("plugin.HandleEvent", None)
        assert caught.value.was_said
        assert await rpc.call("plugin.HandleEvent", None) == b"ok"
        assert len(wire.connections) == 1

    with_server(tmp_path, refuse, check)


def test_nobody_there_is_no_answer(tmp_path: Path) -> None:
    async def run() -> None:
        with pytest.raises(NoAnswer, match="No such file"):
            await PluginRpc(tmp_path / "none", 5000).call("plugin.HandleEvent", None)

    asyncio.run(run())


def test_a_closed_connection_is_no_answer(tmp_path: Path) -> None:
    async def hang_up(_: int, __: list[Any], writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def check(rpc: PluginRpc, _: WireServer) -> None:
        with pytest.raises(NoAnswer, match="no data"):
            await rpc.call("plugin.HandleEvent", None)

    with_server(tmp_path, hang_up, check)


@pytest.mark.parametrize(
    "garbage",
    [b"hello", b"\xc1", msgpack.packb({"a": 1}), msgpack.packb([]), msgpack.packb([1, 999, None, "x"])],
    ids=["text", "no MsgPack", "a map", "an empty list", "another call's answer"],
)
def test_garbage_is_an_error_in_lua_and_not_no_answer(tmp_path: Path, garbage: bytes) -> None:
    async def spit(count: int, message: list[Any], writer: asyncio.StreamWriter) -> None:
        writer.write(garbage if count == 1 else msgpack.packb([1, message[1], None, "ok"]))

    async def check(rpc: PluginRpc, wire: WireServer) -> None:
        with pytest.raises(LuaFault):
            await rpc.call("plugin.HandleEvent", None)
        assert await rpc.call("plugin.HandleEvent", None) == b"ok"
        assert len(wire.connections) == 2

    with_server(tmp_path, spit, check)


@pytest.mark.parametrize("ends", [True, False], ids=["closed", "silent"])
def test_half_an_answer_is_an_error_in_lua(tmp_path: Path, ends: bool) -> None:
    async def half(_: int, message: list[Any], writer: asyncio.StreamWriter) -> None:
        writer.write(msgpack.packb([1, message[1], None, "x" * 50])[:10])
        if ends:
            writer.close()

    async def check(rpc: PluginRpc, _: WireServer) -> None:
        with pytest.raises(LuaFault, match="missing bytes"):
            await rpc.call("plugin.HandleEvent", None)

    with_server(tmp_path, half, check, timeout_ms=50)


def test_a_late_answer_meets_an_innocent_call_on_the_same_connection(tmp_path: Path) -> None:
    async def late(count: int, message: list[Any], writer: asyncio.StreamWriter) -> None:
        if count == 2:
            writer.write(msgpack.packb([1, 1, None, "too late"]))

    async def check(rpc: PluginRpc, wire: WireServer) -> None:
        with pytest.raises(NoAnswer, match="no data"):
            await rpc.call("plugin.HandleEvent", None)
        with pytest.raises(LuaFault, match="unexpected RPC response ID"):
            await rpc.call("plugin.HandleEvent", None)
        assert len(wire.connections) == 1

    with_server(tmp_path, late, check, timeout_ms=50)
