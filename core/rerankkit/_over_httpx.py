"""Requests over connections of httpx's kind: its TLS, its sockets, its ways through proxies.

httpx itself is passed by: its own requests and responses, made anew for each call, took 60 us of a call with 100 documents,
its pool 30 and its connections 35 more, of 350 in all.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import aclosing, closing
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import anyio

from rerankkit._connections import Connections
from rerankkit._content import BrokenReplyError, Content, UnreadableReplyError
from rerankkit._deadline_stream import Timeout
from rerankkit._failing import TransportError, causes, drop_frames, is_refused, system_reason
from rerankkit._h11_connection import Target
from rerankkit._wire import HttpRequest, HttpResponse, by_name, unsendable


class Library(NamedTuple):
    """An HTTP library with httpx's interface, and what lies under it."""

    httpx: Any
    httpcore: Any


@lru_cache(maxsize=256)  # a client has one, or a few; to take one apart costs as much as all the rest of a request
def target(library: Library, url: str) -> Target:
    """*url* as *library* understands it."""
    parts = library.httpx.URL(url)
    own = library.httpcore.URL(scheme=parts.raw_scheme, host=parts.raw_host, port=parts.port, target=parts.raw_path)
    return Target(own, own.origin, parts.netloc.decode("ascii"))


class ProxiedConnection:
    """A connection of the library's own, which knows the ways through proxies.

    Args:
        core: httpcore, or its like.
        inner: Of its pool.
    """

    def __init__(self, core: Any, inner: Any) -> None:  # noqa: ANN401 -- the library's own
        self._core = core
        self._inner = inner

    def exchange(self, request: HttpRequest, goal: Target, timeout: Timeout) -> HttpResponse:
        """The reply to *request*."""
        response = self._inner.handle_request(self._prepare(request, goal, timeout))
        timeout.answered = True
        with closing(response):
            headers = by_name(response.headers)
            content = Content(headers)
            for chunk in response.stream:
                content.add(chunk)
        return HttpResponse(response.status, headers, content.whole())

    async def aexchange(self, request: HttpRequest, goal: Target, timeout: Timeout) -> HttpResponse:
        """The same in the running event loop."""
        response = await self._inner.handle_async_request(self._prepare(request, goal, timeout))
        timeout.answered = True
        async with aclosing(response):
            headers = by_name(response.headers)
            content = Content(headers)
            async for chunk in response.stream:
                content.add(chunk)
        return HttpResponse(response.status, headers, content.whole())

    def _prepare(self, request: HttpRequest, goal: Target, timeout: Timeout) -> Any:  # noqa: ANN401 -- the library's own Request
        headers = request.headers_to(goal.host)
        phases = dict.fromkeys(("connect", "read", "write", "pool"), timeout)
        return self._core.Request(
            request.method, goal.url, headers=headers, content=request.content, extensions={"timeout": phases}
        )

    def can_handle_request(self, origin: Any) -> bool:  # noqa: ANN401 -- the library's own
        return bool(self._inner.can_handle_request(origin))

    def is_idle(self) -> bool:
        """Whether it can serve another request; the library itself lets what nobody asked for answer the next one."""
        return bool(self._inner.is_idle()) and not _unasked(self._inner)

    def has_expired(self) -> bool:
        """Whether it waited too long, or the other side has closed it."""
        return bool(self._inner.has_expired())

    def close(self) -> None:
        self._inner.close()

    async def aclose(self) -> None:
        await self._inner.aclose()


def _unasked(connection: Any) -> bytes:  # noqa: ANN401 -- the library's own
    """What *connection* has got beyond its last reply."""
    while not hasattr(connection, "_h11_state"):
        connection = connection._connection  # noqa: SLF001 -- it says so nowhere else; tests on real sockets hold it for each
    found: bytes = connection._h11_state.trailing_data[0]  # noqa: SLF001 -- as above
    return found


class HttpxPool:
    """Open connections for blocking calls, or for one event loop.

    Args:
        library: Whose errors tell what went wrong.
        make: A connection to an origin, not opened yet.
        most_kept: How many may wait for a request.
    """

    def __init__(self, library: Library, make: Callable[[Any], Any], most_kept: int) -> None:
        self._library = library
        self._unsendable = (library.httpcore.LocalProtocolError, library.httpx.InvalidURL, UnicodeError)
        self._known = (UnreadableReplyError, *self._unsendable, *_failures(library.httpcore))
        self.connections: Connections[Any] = Connections(make, most_kept)

    def send(self, request: HttpRequest, timeout: Timeout) -> HttpResponse:
        """The reply to *request*, waited for in the calling thread."""
        handled = sys.exception()
        try:
            return self._exchange(request, timeout)
        except self._known as error:
            failure = self._translated(error, handled, request, timeout)
        try:
            raise failure
        finally:
            del failure  # it and the frames of its traceback would keep each other alive

    async def asend(self, request: HttpRequest, timeout: Timeout) -> HttpResponse:
        """The same in the running event loop."""
        handled = sys.exception()
        try:
            return await self._aexchange(request, timeout)
        except self._known as error:
            failure = self._translated(error, handled, request, timeout)
        try:
            raise failure
        finally:
            del failure  # as above

    def _exchange(self, request: HttpRequest, timeout: Timeout) -> HttpResponse:
        goal = target(self._library, request.url)
        connection, spent = self.connections.take(goal.origin)
        try:
            _close(spent)
            found: HttpResponse = connection.exchange(request, goal, timeout)
        except BaseException:
            _close(self.connections.drop(connection))
            raise
        _close(self.connections.give_back(connection))
        return found

    async def _aexchange(self, request: HttpRequest, timeout: Timeout) -> HttpResponse:
        goal = target(self._library, request.url)
        connection, spent = self.connections.take(goal.origin)
        try:
            await _aclose(spent)
            found: HttpResponse = await connection.aexchange(request, goal, timeout)
        except BaseException:
            await _aclose(self.connections.drop(connection))
            raise
        await _aclose(self.connections.give_back(connection))
        return found

    def close(self) -> None:
        """Close every connection; threads that wait on one find out."""
        _close(self.connections.close())

    async def aclose(self) -> None:
        """Close every connection, even if the loop is ending and cancels everything."""
        open_ones = self.connections.close()
        try:
            await _aclose(open_ones)
        except asyncio.CancelledError:
            await _aclose(open_ones)
            raise

    def _translated(self, error: Exception, handled: BaseException | None, request: HttpRequest, timeout: Timeout) -> Exception:
        """What callers are told of *error*, to be raised when that is not handled any more: it may show a key."""
        drop_frames(error, handled)
        if isinstance(error, UnreadableReplyError):
            return error
        if isinstance(error, self._unsendable):
            return unsendable()
        failure = self._failure(error, request, timeout)
        failure.__cause__ = error
        if isinstance(failure, TransportError) and failure.stale:
            self.connections.distrust_kept()
        return failure

    def _failure(self, error: Exception, request: HttpRequest, timeout: Timeout) -> TimeoutError | TransportError:
        """What *error*, which the library raised, says of *request*."""
        library = self._library.httpcore
        if isinstance(error, library.TimeoutException) and not timeout.deadline.remaining():
            return TimeoutError(type(error).__name__)
        what, why = _what_failed(library, error), system_reason(causes(error)) or error
        is_broken = isinstance(error, library.NetworkError | library.RemoteProtocolError)
        return TransportError(
            f"{what} {urlsplit(request.url).netloc} ({type(error).__name__}: {why})",
            can_heal=_can_heal(library, error),
            stale=is_broken and not (timeout.connected or timeout.answered),
            sent=not isinstance(error, library.ConnectError | library.ConnectTimeout | library.ProxyError),
        )


def _close(connections: list[Any]) -> None:
    for connection in connections:
        connection.close()


async def _aclose(connections: list[Any]) -> None:
    """Close them all, also in a scope that is being cancelled."""
    for connection in connections:
        with anyio.CancelScope(shield=True):
            await connection.aclose()


def _failures(library: Any) -> tuple[type[Exception], ...]:  # noqa: ANN401 -- a module
    """What is raised for a reply that does not come, or not whole."""
    names = ("TimeoutException", "NetworkError", "ProtocolError", "ProxyError", "UnsupportedProtocol")
    return (*(getattr(library, name) for name in names), ConnectionError, BrokenReplyError)


def _what_failed(library: Any, error: Exception) -> str:  # noqa: ANN401 -- a module
    if isinstance(error, library.ProxyError):
        return "the proxy refused to connect to"
    is_connecting = isinstance(error, library.ConnectError | library.ConnectTimeout)
    return "cannot connect to" if is_connecting else "no complete answer from"


def _can_heal(library: Any, error: Exception) -> bool:  # noqa: ANN401 -- a module
    """Whether another attempt may fare better: not where a certificate, old TLS or a proxy's rules stand in the way."""
    if isinstance(error, library.ProxyError):
        return not str(error).startswith("4")
    return not (isinstance(error, library.ConnectError) and is_refused(causes(error)))
