"""Requests over the connections of httpx, or of a library with its interface.

httpx says how a connection is made, and is passed by for the rest.  Of a call with 100 documents, which has 250 us, its own
requests and responses took 60, and its pool 30; with 200 calls under way the pool, which looks through all of its
connections at every step, took most of the time.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import deque
from contextlib import aclosing, closing
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import anyio

from rerankkit._content import BrokenReplyError, Content, UnreadableReplyError
from rerankkit._deadline_stream import Timeout
from rerankkit._failing import TransportError, causes, drop_frames, is_refused, system_reason
from rerankkit._wire import HttpRequest, HttpResponse, by_name


class Library(NamedTuple):
    """An HTTP library with httpx's interface, and the connection pool under it."""

    httpx: Any
    httpcore: Any


class Target(NamedTuple):
    """Where a request goes.

    Attributes:
        url: The library's own.
        origin: Whom to connect to.
        host: What the header ``Host`` says of it.
    """

    url: Any
    origin: Any
    host: bytes


@lru_cache(maxsize=256)  # a client has one, or a few; to take one apart costs as much as all the rest of a request
def target(library: Library, url: str) -> Target:
    """*url* as *library* understands it."""
    parts = library.httpx.URL(url)
    own = library.httpcore.URL(scheme=parts.raw_scheme, host=parts.raw_host, port=parts.port, target=parts.raw_path)
    return Target(own, own.origin, parts.netloc)


class Connections:
    """The open connections of a pool: those that requests have, and those kept for the next ones.

    Args:
        pool: The library's own, which knows how a connection is made; it is asked for nothing else.
        most_kept: How many may wait for a request.
    """

    def __init__(self, pool: Any, most_kept: int) -> None:  # noqa: ANN401 -- the library's own
        self._pool = pool
        self._most_kept = most_kept
        self._lock = threading.Lock()
        self._is_closed = False
        self.taken: set[Any] = set()
        self.kept: deque[Any] = deque()

    def take(self, origin: Any) -> tuple[Any, list[Any]]:  # noqa: ANN401 -- as above
        """A connection to *origin*, the one used last or else a new one, and those to close that are of no use any more."""
        spent: list[Any] = []
        with self._lock:
            while self.kept:
                connection = self.kept.pop()
                if connection.can_handle_request(origin) and not connection.has_expired():
                    break
                spent.append(connection)
            else:
                connection = self._pool.create_connection(origin)
            self.taken.add(connection)
        return connection, spent

    def give_back(self, connection: Any) -> list[Any]:  # noqa: ANN401 -- as above
        """Keep *connection* if it can serve again; what is to be closed."""
        with self._lock:
            self.taken.discard(connection)
            if self._is_closed or not connection.is_idle():
                return [connection]
            self.kept.append(connection)
            is_one_too_many = len(self.kept) > 1 and (len(self.kept) > self._most_kept or self.kept[0].has_expired())
            return [self.kept.popleft()] if is_one_too_many else []

    def drop(self, connection: Any) -> list[Any]:  # noqa: ANN401 -- as above
        """Forget *connection*, which failed; what is to be closed."""
        with self._lock:
            self.taken.discard(connection)
            return [connection]

    def distrust_kept(self) -> list[Any]:
        """Keep none of those that wait: one of them was closed meanwhile; what is to be closed."""
        with self._lock:
            return self._unkept()

    def close(self) -> list[Any]:
        """Keep none any more; what is to be closed."""
        with self._lock:
            self._is_closed = True
            return [*self.taken, *self._unkept()]

    def _unkept(self) -> list[Any]:
        found = list(self.kept)
        self.kept.clear()
        return found


class HttpxPool:
    """Open connections for blocking calls, or for one event loop.

    Args:
        pool: What the library's transports send through; no client, which would follow redirects and keep cookies.
        most_kept: Idle connections.
    """

    def __init__(self, library: Library, pool: Any, most_kept: int) -> None:  # noqa: ANN401 -- the library's own
        self._library = library
        self._failures = _failures(library.httpcore)
        self.connections = Connections(pool, most_kept)

    def send(self, request: HttpRequest, timeout: Timeout) -> HttpResponse:
        """The reply to *request*, waited for in the calling thread."""
        handled = sys.exception()
        try:
            return self._exchange(request, timeout)
        except UnreadableReplyError as error:
            drop_frames(error, handled)
            raise
        except self._failures as error:
            drop_frames(error, handled)
            failure = self._failure(error, request, timeout)
            if isinstance(failure, TransportError) and failure.stale:
                _close(self.connections.distrust_kept())
            raise failure from error

    async def asend(self, request: HttpRequest, timeout: Timeout) -> HttpResponse:
        """The same in the running event loop."""
        handled = sys.exception()
        try:
            return await self._aexchange(request, timeout)
        except UnreadableReplyError as error:
            drop_frames(error, handled)
            raise
        except self._failures as error:
            drop_frames(error, handled)
            failure = self._failure(error, request, timeout)
            if isinstance(failure, TransportError) and failure.stale:
                await _aclose(self.connections.distrust_kept())
            raise failure from error

    def _exchange(self, request: HttpRequest, timeout: Timeout) -> HttpResponse:
        goal = target(self._library, request.url)
        connection, spent = self.connections.take(goal.origin)
        try:
            _close(spent)
            found = _answer(connection, self._prepare(request, goal, timeout), timeout)
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
            found = await _awaited_answer(connection, self._prepare(request, goal, timeout), timeout)
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

    def _prepare(self, request: HttpRequest, goal: Target, timeout: Timeout) -> Any:  # noqa: ANN401 -- the library's own Request
        headers: dict[str, str | bytes] = {"Host": goal.host, **request.all_headers()}
        if request.content or request.method == "POST":
            headers["Content-Length"] = b"%d" % len(request.content)
        phases = {"connect": timeout, "read": timeout, "write": timeout, "pool": timeout}
        return self._library.httpcore.Request(
            request.method, goal.url, headers=headers, content=request.content, extensions={"timeout": phases}
        )

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


def _answer(connection: Any, request: Any, timeout: Timeout) -> HttpResponse:  # noqa: ANN401 -- the library's own
    response = connection.handle_request(request)
    timeout.answered = True
    with closing(response):
        headers = by_name(response.headers)
        content = Content(headers)
        for chunk in response.stream:
            content.add(chunk)
    return HttpResponse(response.status, headers, content.whole())


async def _awaited_answer(connection: Any, request: Any, timeout: Timeout) -> HttpResponse:  # noqa: ANN401 -- as above
    response = await connection.handle_async_request(request)
    timeout.answered = True
    async with aclosing(response):
        headers = by_name(response.headers)
        content = Content(headers)
        async for chunk in response.stream:
            content.add(chunk)
    return HttpResponse(response.status, headers, content.whole())


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
