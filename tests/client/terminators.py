"""Servers that speak TLS, for the tests of the client: each stands before a real one and takes TLS off."""

import asyncio
import contextlib
import ssl
import threading
from pathlib import Path
from types import TracebackType
from typing import Self


class Terminator:
    """TLS in front of `target` ("127.0.0.1:8000"), at `address` once begun; `accepted` counts connections."""

    def __init__(self, target: str, certificate: Path, *, client_ca: Path | None = None, alpn: str) -> None:
        self._target = target.rsplit(":", 1)
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(certificate)
        self._context.set_alpn_protocols([alpn])
        if client_ca is not None:
            self._context.load_verify_locations(client_ca)
            self._context.verify_mode = ssl.CERT_REQUIRED
        self.accepted = 0
        self.address = ""
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def hang_up(self) -> None:
        """End every connection in good order, as a server does that has been idle for long."""
        asyncio.run_coroutine_threadsafe(self._hang_up(), self._loop).result(10)

    async def _listen(self) -> asyncio.Server:
        self._loop.set_exception_handler(lambda loop, context: None)  # handshakes that fail are what is tested
        return await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context, ssl_shutdown_timeout=0.1)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        host, port = self._target
        inner_reader, inner_writer = await asyncio.open_connection(host, int(port))
        self._writers |= {writer, inner_writer}
        try:
            await asyncio.gather(_pump(reader, inner_writer), _pump(inner_reader, writer))
        finally:
            self._writers -= {writer, inner_writer}

    async def _hang_up(self) -> None:
        for writer in tuple(self._writers):
            with contextlib.suppress(OSError):
                writer.close()
                await writer.wait_closed()

    async def _end(self) -> None:
        self._server.close()
        await self._hang_up()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()
