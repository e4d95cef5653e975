"""aiohttp's connections and pool, made strict.

aiohttp's pool takes for an answer whatever comes over a kept connection.  Here one that has something to read before it is
asked, or after its answer has ended, is closed.
"""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, cast

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection

from rerankkit._content import UnreadableReplyError
from rerankkit._deadline_stream import CHUNK, HEAD_CHUNK, MAX_HEAD_BYTES, Timeout

if TYPE_CHECKING:
    import socket
    import ssl

    from aiohttp.client_reqrep import ClientRequest
    from aiohttp.http_parser import RawResponseMessage
    from aiohttp.streams import StreamReader
    from aiohttp.tracing import Trace

NO_LIMIT = 2 * MAX_HEAD_BYTES  # of a line: `MAX_HEAD_BYTES` is to be met first, wherever the bytes are
MOST_INTERIM = 256  # replies before the final one: they come without a turn of the event loop in between
SWITCHING = 101
FIRST_FINAL = 200  # statuses below it announce a reply to come, 101 apart

TIMEOUT: ContextVar[Timeout] = ContextVar("rerankkit_timeout")
"""Of the request that looks for a connection."""


class Connector(aiohttp.TCPConnector):
    """Opens connections, and tells a request's `Timeout` when it does; gives out only kept ones that are silent."""

    def __init__(self, context: ssl.SSLContext, is_closed: Callable[[], bool]) -> None:
        resolver = aiohttp.ThreadedResolver()  # the system's, whatever else is installed
        super().__init__(  # pyright: ignore[reportUnknownMemberType] -- a parameter for sockets is not described in full
            ssl=context, limit=0, resolver=resolver, use_dns_cache=False
        )
        self._factory = cast("partial[ResponseHandler]", partial(Protocol, loop=self._loop))  # no other way to say so
        self._is_closed = is_closed
        self._distrusted = 0.0

    def __del__(self, _: object = None) -> None:
        """Nothing: what it would close may be another process's, and the sockets complain of themselves."""

    def distrust_idle(self) -> None:
        """Use no connection again that was opened before now: one that was kept had been forgotten by the other side."""
        self._distrusted = time.monotonic()

    async def connect(self, req: ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout) -> Connection:
        while True:
            connection = await super().connect(req, traces, timeout)
            protocol = cast("Protocol", connection.protocol)
            if TIMEOUT.get().connected or protocol.is_fit(self._distrusted):
                protocol.begin()
                return connection
            connection.close()

    async def _create_connection(
        self, req: ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> ResponseHandler:
        TIMEOUT.get().connected = True
        protocol = await super()._create_connection(req, traces, timeout)
        if self._is_closed():
            protocol.close()
            raise aiohttp.ClientConnectionError("the client was closed")
        return protocol


class Protocol(ResponseHandler):
    """A connection that bounds the head of a reply, and ends at bytes that nobody asked for."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._opened = time.monotonic()
        self.begin()

    def begin(self) -> None:
        """Expect a reply."""
        self._received = 0
        self._interim = 0
        self._content: StreamReader | None = None
        self._progress: asyncio.Future[None] | None = None

    def is_fit(self, distrusted: float) -> bool:
        """Whether it may serve another request: it is not older than *distrusted*, and nothing has come meanwhile."""
        return self._opened > distrusted and not self.should_close and not _is_readable(self.transport)

    async def upload(self, head: bytes, content: bytes) -> None:
        """Send a request, or as much of it as the other side wants before it answers."""
        self.set_response_params(auto_decompress=False, read_until_eof=True, max_line_size=NO_LIMIT, max_field_size=NO_LIMIT)
        view = memoryview(content)
        self._write(b"".join((head, view[:CHUNK])))
        for start in range(CHUNK, len(content), CHUNK):
            while self.writing_paused and self._wants_more():
                self._progress = self._loop.create_future()
                await self._progress
            if not self._wants_more():
                self.force_close()
                return
            self._write(view[start : start + CHUNK])

    def _wants_more(self) -> bool:
        """Whether the other side is there, and has not answered yet."""
        return self._content is None and self.is_connected() and self.exception() is None

    def _write(self, data: bytes | memoryview) -> None:
        if self.transport is not None:
            self.transport.write(data)

    def _tell_of_progress(self) -> None:
        if self._progress is not None and not self._progress.done():
            self._progress.set_result(None)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._tell_of_progress()

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._tell_of_progress()

    async def head(self) -> tuple[RawResponseMessage, StreamReader]:
        """The head of the reply, and where its content comes."""
        while True:
            message, stream = await self.read()
            if _is_final(message):
                return message, stream

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        if _is_final(data[0]):
            self._content = data[1]
        else:
            self._interim += 1
        super().feed_data(data, size)
        self._tell_of_progress()

    def data_received(self, data: bytes) -> None:
        if not data:
            super().data_received(data)  # aiohttp's own way to go on after a pause
        while data and self._content is None:  # little at a time: a flood of heads is a lot of work
            if self.exception() is not None:
                return
            if self._received > MAX_HEAD_BYTES:
                self._refuse(f"the head of the answer is longer than {MAX_HEAD_BYTES:,} bytes")
                return
            if self._interim > MOST_INTERIM:
                self._refuse(f"more than {MOST_INTERIM} interim replies came before the answer")
                return
            piece, data = data[:HEAD_CHUNK], data[HEAD_CHUNK:]
            self._received += len(piece)
            super().data_received(piece)
        if data and self._content is not None:
            self._take(data, self._content)

    def _take(self, data: bytes, content: StreamReader) -> None:
        """What follows the head."""
        if content.is_eof():
            self.force_close()
            self._hang_up()
        else:
            super().data_received(data)

    def close(self) -> None:
        """At once: whoever closes politely waits until the other side has read what was sent."""
        self.abort()

    def abort(self) -> None:
        """End it, and tell whoever is reading that nothing more comes; aiohttp would let him wait for ever."""
        if self._content is not None and not self._content.is_eof():
            self._content.set_exception(aiohttp.ClientConnectionError("the connection was closed"))
        super().abort()

    def _refuse(self, why: str) -> None:
        self.set_exception(UnreadableReplyError(why))
        self._hang_up()

    def _hang_up(self) -> None:
        if self.transport is not None:
            self.transport.abort()


def _is_final(message: RawResponseMessage) -> bool:
    return message.code >= FIRST_FINAL or message.code == SWITCHING


def _is_readable(transport: asyncio.Transport | None) -> bool:
    """Whether a connection has something to read, if only its end."""
    connection: socket.socket | None = transport.get_extra_info("socket") if transport else None
    if connection is None:
        return True
    if not hasattr(select, "poll"):  # Windows
        return bool(select.select([connection], [], [], 0)[0])
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(0))
