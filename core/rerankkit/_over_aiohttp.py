"""Requests through aiohttp, in event loops: of the libraries the fastest where many are under way at once.

Its connections, its pool and its parser are used, without the session above them: no redirects, no cookies, no
environment, no headers of its own, and half of the time.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

import aiohttp
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import EofStream
from yarl import URL

from rerankkit._aiohttp_connection import TIMEOUT, Connector, Protocol
from rerankkit._content import BrokenReplyError, Content, UnreadableReplyError
from rerankkit._deadline_stream import Timeout
from rerankkit._failing import TransportError, causes, drop_frames, is_refused, system_reason
from rerankkit._wire import HttpRequest, HttpResponse, by_name, unsendable

if TYPE_CHECKING:
    import ssl


LINE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+: ([!-~]([\t -~]*[!-~])?)?")  # a header.  RFC 9110, 5.1 and 5.5
TARGET = re.compile(r"[!-~]+")

NO_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=None)  # whoever waits is cancelled at the deadline


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
        self.connector = Connector(context, is_closed)
        self._proxy = proxy
        self._ways: dict[str, _Way] = {}

    async def asend(self, request: HttpRequest, timeout: Timeout) -> HttpResponse:
        """The reply to *request*; whoever waits is cancelled at the deadline.

        Raises:
            TransportError: None can come. aiohttp's own errors are not kept as its cause: some hold a proxy's password.
        """
        handled = sys.exception()
        token = TIMEOUT.set(timeout)
        try:
            return await self._answer(request, timeout)
        except (UnreadableReplyError, asyncio.CancelledError) as error:
            drop_frames(error, handled)
            raise
        except RuntimeError as error:
            if not self.connector.closed:
                raise
            drop_frames(error, handled)
            failure, cause = _failure(error, request, timeout), next(_inner(error), None)
        except (aiohttp.ClientError, HttpProcessingError, EofStream, OSError, BrokenReplyError) as error:
            drop_frames(error, handled)
            failure, cause = _failure(error, request, timeout), next(_inner(error), None)
        finally:
            TIMEOUT.reset(token)
        if failure.stale:
            self.connector.distrust_idle()
        raise failure from cause

    async def _answer(self, request: HttpRequest, timeout: Timeout) -> HttpResponse:
        way = self._way_of(request.url)
        connection = await way.connect(self.connector)
        try:
            protocol = cast("Protocol", connection.protocol)
            await protocol.upload(way.head(request), request.content)
            message, stream = await protocol.head()
            timeout.answered = True
            headers = _headers(message.raw_headers)
            content = Content(headers)
            async for chunk in stream.iter_any():
                content.add(chunk)
            whole = content.whole()
        except BaseException:
            connection.close()
            raise
        connection.release()
        return HttpResponse(message.code, headers, whole)

    def _way_of(self, url: str) -> _Way:
        origin = "/".join(url.split("/", 3)[:3])
        if origin not in self._ways:
            self._ways[origin] = _Way(origin, self._proxy)
        return self._ways[origin]

    async def aclose(self) -> None:
        """Close every connection."""
        await self.connector.close()


class _Way:
    """How requests to one origin go.

    Args:
        origin: Scheme, host and port.
        proxy: On the way there.
    """

    def __init__(self, origin: str, proxy: str | None) -> None:
        self._origin = origin
        self._request = aiohttp.ClientRequest(
            "POST",
            URL(origin, encoded=True),
            loop=asyncio.get_running_loop(),
            proxy=None if proxy is None else URL(proxy),
        )
        self._is_told_whole = proxy is not None and not self._request.is_ssl()  # to a proxy that reads along

    async def connect(self, connector: Connector) -> Connection:
        """A connection that is ready for a request."""
        return await connector.connect(self._request, [], NO_TIMEOUT)

    def head(self, request: HttpRequest) -> bytes:
        """The head of *request*.

        Raises:
            InvalidRequestError: It would be no request, or several.
        """
        target = request.url if self._is_told_whole else request.url.removeprefix(self._origin) or "/"
        headers = request.headers_to(self._request.headers["Host"])
        if self._is_told_whole and (password := self._request.headers.get("Proxy-Authorization")):
            headers["Proxy-Authorization"] = password
        lines = [f"{name}: {value}" for name, value in headers.items()]
        if not (TARGET.fullmatch(target) and all(map(LINE.fullmatch, lines))) or _contradict(headers):
            raise unsendable()
        return "\r\n".join([f"{request.method} {target} HTTP/1.1", *lines, "", ""]).encode("ascii")


def _contradict(headers: Mapping[str, str]) -> bool:
    """Whether one header is there twice, or content whose length is told is said to be framed in another way."""
    names = set(map(str.lower, headers))
    return len(names) < len(headers) or "transfer-encoding" in names


def _failure(error: Exception, request: HttpRequest, timeout: Timeout) -> TransportError:
    is_connecting = isinstance(error, aiohttp.ClientConnectorError)
    is_proxys = isinstance(error, aiohttp.ClientHttpProxyError)
    what = "cannot connect to" if is_connecting else "no complete answer from"
    return TransportError(
        f"{'the proxy refused to connect to' if is_proxys else what} {urlsplit(request.url).netloc} "
        f"({type(error).__name__}: {_reason(error)})",
        can_heal=_can_heal(error),
        stale=not (timeout.connected or timeout.answered) and not isinstance(error, HttpProcessingError),
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
    if isinstance(error, HttpProcessingError):
        return error.message
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the server closed the connection"  # its own words may hold the reply so far
    return system_reason(_inner(error)) or str(error)


def _inner(error: Exception) -> Iterator[BaseException]:
    """What *error* came from, aiohttp's own errors apart."""
    return (found for found in causes(error) if not isinstance(found, aiohttp.ClientError))


def _headers(raw: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    """The headers of a reply.

    Raises:
        BrokenReplyError: aiohttp is lenient where two readers could see two replies (RFC 9112, 5.1 and 6.1).
    """
    found = by_name(raw)
    if any(name != name.strip() for name in found):
        raise BrokenReplyError("there is a space between a header's name and its colon")
    if found.get("transfer-encoding", "chunked").strip().lower() != "chunked":
        raise BrokenReplyError("the answer is in a transfer coding that was not asked for")
    return found
