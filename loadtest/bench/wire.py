"""Counts the bytes between a client and a server, for any protocol."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass


@dataclass
class Wire:
    """`address` is a proxy in front of the server; it counts the bytes of both directions."""

    address: str = ""
    sent: int = 0
    received: int = 0


@asynccontextmanager
async def counted(address: str) -> AsyncIterator[Wire]:
    host, _, port = address.rpartition(":")
    wire = Wire()
    open_tasks: set[asyncio.Task[None]] = set()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_request: bool) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                if is_request:
                    wire.sent += len(data)
                else:
                    wire.received += len(data)
                writer.write(data)
                await writer.drain()
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        for ends in ((reader, far_writer, True), (far_reader, writer, False)):
            task = asyncio.create_task(pass_on(*ends))
            open_tasks.add(task)
            task.add_done_callback(open_tasks.discard)

    proxy = await asyncio.start_server(connected, "127.0.0.1", 0)
    wire.address = f"127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
    try:
        yield wire
    finally:
        proxy.close()
        for task in open_tasks:
            task.cancel()
        await asyncio.gather(*open_tasks, return_exceptions=True)
