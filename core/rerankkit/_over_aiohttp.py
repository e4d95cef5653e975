"""Requests through aiohttp, in event loops: of the libraries the fastest where many are under way at once.

Its session is used for nothing but sending: no redirects, no cookies, no environment, no headers of its own.  A session
takes for an answer whatever comes over a kept connection; here one that has something to read before it is asked, or
after its answer has ended, is closed.
"""

from __future__ import annotations

import asyncio
import select
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.payload import Payload
from yarl import URL

from rerankkit._content import BrokenReplyError, Content, UnreadableReplyError
from rerankkit._deadline_stream import CHUNK, HEAD_CHUNK, MAX_HEAD_BYTES, Timeout
from rerankkit._failing import TransportError, causes, drop_frames, is_refused, system_reason
from rerankkit._wire import HttpRequest, HttpResponse

if TYPE_CHECKING:
    import socket
    import ssl

    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.client_reqrep import ClientRequest
    from aiohttp.http_parser import RawResponseMessage
    from aiohttp.streams import StreamReader
    from aiohttp.tracing import Trace

NO_LIMIT = 2 * MAX_HEAD_BYTES  # of a line: `MAX_HEAD_BYTES` is to be met first, wherever the bytes are
AUTOMATIC_HEADERS = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
SWITCHING = 101
FIRST_FINAL = 200  # statuses below it announce a reply to come, 101 apart

_TIMEOUT: ContextVar[Timeout] = ContextVar("rerankkit_timeout")
"""Of the request that looks for a connection."""


def can_use(proxy: str) -> bool:
    """Whether aiohttp can send by way of *proxy*."""
    try:
        url = URL(proxy)
        return url.scheme in ("http", "https") and bool(url.host) and urlsplit(proxy).port != 0
    except ValueError:
        return False


class AiohttpPool:
    """The running loop's connections to one service.

    Args:
        proxy: On the way there.
        context: For TLS, with the service and with the proxy.
        is_closed: Whether whoever wanted the connections has gone; none is opened for them.
    """

    def __init__(self, proxy: str | None, context: ssl.SSLContext, is_closed: Callable[[], bool]) -> None:
        self.connector = _Connector(context, is_closed)
        self._proxy = proxy
        self._session = aiohttp.ClientSession(
            connector=self.connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),  # whoever waits is cancelled at the deadline
            auto_decompress=False,  # `Content` does it, in bounded memory
            skip_auto_headers=AUTOMATIC_HEADERS,
            max_line_size=NO_LIMIT,
            max_field_size=NO_LIMIT,
        )

    def __del__(self) -> None:
        self._session.detach()  # of one that is not closed it would complain beyond what the sockets themselves say

    async def asend(self, request: HttpRequest, timeout: Timeout) -> HttpResponse:
        """The reply to *request*; whoever waits is cancelled at the deadline.

        Raises:
            TransportError: None can come. aiohttp's own errors are not kept as its cause: they hold the request's headers.
        """
        handled = sys.exception()
        token = _TIMEOUT.set(timeout)
        try:
            return await self._answer(request, timeout)
        except (UnreadableReplyError, asyncio.CancelledError) as error:
            drop_frames(error, handled)
            raise
        except RuntimeError as error:
            if not self._session.closed:
                raise
            drop_frames(error, handled)
            failure, cause = _failure(error, request, timeout), next(_inner(error), None)
        except (aiohttp.ClientError, OSError, BrokenReplyError) as error:
            drop_frames(error, handled)
            failure, cause = _failure(error, request, timeout), next(_inner(error), None)
        finally:
            _TIMEOUT.reset(token)
        if failure.stale:
            self.connector.distrust_idle()
        raise failure from cause

    async def _answer(self, request: HttpRequest, timeout: Timeout) -> HttpResponse:
        async with self._session.request(
            request.method,
            URL(request.url, encoded=True),
            headers={**request.headers, **request.auth},
            data=_Body(request.content) if request.content else None,
            allow_redirects=False,
            proxy=self._proxy,
        ) as response:
            timeout.answered = True
            headers = _headers(response.raw_headers)
            content = Content(headers)
            async for chunk in response.content.iter_any():
                content.add(chunk)
            return HttpResponse(response.status, headers, content.whole())

    async def aclose(self) -> None:
        """Close every connection."""
        await self._session.close()


class _Body(Payload):
    """A request's content, handed to the socket a piece at a time; aiohttp's own warns of those above a megabyte."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self._size = len(content)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return cast("bytes", self._value).decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        content: bytes = self._value
        if len(content) <= CHUNK:
            await writer.write(content)
        else:
            view = memoryview(content)
            for start in range(0, len(content), CHUNK):
                await writer.write(view[start : start + CHUNK])


class _Connector(aiohttp.TCPConnector):
    """Opens connections, and tells a request's `Timeout` when it does; gives out only kept ones that are silent."""

    def __init__(self, context: ssl.SSLContext, is_closed: Callable[[], bool]) -> None:
        resolver = aiohttp.ThreadedResolver()  # the system's, whatever else is installed
        super().__init__(ssl=context, limit=0, resolver=resolver, use_dns_cache=False)
        self._factory = cast("partial[ResponseHandler]", partial(_Protocol, loop=self._loop))  # no other way to say so
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
            protocol = cast("_Protocol", connection.protocol)
            if _TIMEOUT.get().connected or protocol.is_fit(self._distrusted):
                protocol.begin()
                return connection
            connection.close()

    async def _create_connection(
        self, req: ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> ResponseHandler:
        _TIMEOUT.get().connected = True
        protocol = await super()._create_connection(req, traces, timeout)
        if self._is_closed():
            protocol.close()
            raise aiohttp.ClientConnectionError("the client was closed")
        return protocol


class _Protocol(ResponseHandler):
    """A connection that bounds the head of a reply, and ends at bytes that nobody asked for."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._opened = time.monotonic()
        self.begin()

    def begin(self) -> None:
        """Expect a reply."""
        self._received = 0
        self._content: StreamReader | None = None

    def is_fit(self, distrusted: float) -> bool:
        """Whether it may serve another request: it is not older than *distrusted*, and nothing has come meanwhile."""
        return self._opened > distrusted and not self.should_close and not _is_readable(self.transport)

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        if data[0].code >= FIRST_FINAL or data[0].code == SWITCHING:
            self._content = data[1]
        super().feed_data(data, size)

    def data_received(self, data: bytes) -> None:
        if not data:
            super().data_received(data)  # aiohttp's own way to go on after a pause
        while data and self._content is None:  # little at a time: a flood of heads is a lot of work
            if self.exception() is not None:
                return
            if self._received > MAX_HEAD_BYTES:
                self._refuse()
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

    def _refuse(self) -> None:
        self.set_exception(UnreadableReplyError(f"the head of the answer is longer than {MAX_HEAD_BYTES:,} bytes"))
        self._hang_up()

    def _hang_up(self) -> None:
        if self.transport is not None:
            self.transport.abort()


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


def _failure(error: Exception, request: HttpRequest, timeout: Timeout) -> TransportError:
    is_connecting = isinstance(error, aiohttp.ClientConnectorError)
    is_proxys = isinstance(error, aiohttp.ClientHttpProxyError)
    what = "cannot connect to" if is_connecting else "no complete answer from"
    return TransportError(
        f"{'the proxy refused to connect to' if is_proxys else what} {urlsplit(request.url).netloc} "
        f"({type(error).__name__}: {_reason(error)})",
        can_heal=_can_heal(error),
        stale=not (timeout.connected or timeout.answered) and not isinstance(error, aiohttp.ClientResponseError),
        sent=not (is_connecting or is_proxys),
    )


def _can_heal(error: Exception) -> bool:
    """As over httpx: not where a certificate, old TLS or a proxy's rules stand in the way."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return error.status not in range(400, 500)
    return not (isinstance(error, aiohttp.ClientConnectorError) and is_refused(causes(error)))


def _reason(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"{error.status} {error.message}"
    if isinstance(error, aiohttp.ClientResponseError):
        return error.message
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the server closed the connection"  # its own words may hold the reply so far
    return system_reason(_inner(error)) or str(error)


def _inner(error: Exception) -> Iterator[BaseException]:
    """What *error* came from, aiohttp's own errors apart."""
    return (found for found in causes(error) if not isinstance(found, aiohttp.ClientError))


def _headers(raw: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    """Names in lower case; what is sent more than once, in one line.

    Raises:
        BrokenReplyError: aiohttp is lenient where two readers could see two replies (RFC 9112, 5.1 and 6.1).
    """
    found: dict[str, str] = {}
    for name, value in raw:
        lower, text = name.decode("latin-1").lower(), _text(value)
        found[lower] = f"{found[lower]}, {text}" if lower in found else text
        if lower != lower.strip():
            raise BrokenReplyError("there is a space between a header's name and its colon")
    if found.get("transfer-encoding", "chunked").strip().lower() != "chunked":
        raise BrokenReplyError("the answer is in a transfer coding that was not asked for")
    return found


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
