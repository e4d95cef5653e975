"""Requests through httpx, or a library with its interface."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Generator
from contextlib import AsyncExitStack, aclosing, closing, contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from rerankkit._content import BrokenReplyError, Content, UnreadableReplyError
from rerankkit._deadline_stream import Timeout
from rerankkit._failing import TransportError, causes, drop_frames, is_refused, system_reason
from rerankkit._wire import HttpRequest, HttpResponse
from rerankkit.retry import MOST_KEPT

SHARD = MOST_KEPT  # connections of one pool of an event loop: as many as it keeps


class Library(NamedTuple):
    """An HTTP library with httpx's interface, and the connection pool under it."""

    httpx: Any
    httpcore: Any


class HttpxPool:
    """An open pool of the library's, for blocking calls or for one event loop.

    Attributes:
        transport: The library's own: not its client, which follows redirects and keeps cookies.
    """

    def __init__(self, library: Library, transport: Any) -> None:  # noqa: ANN401 -- the library's own
        self._library = library.httpx
        self.transport = transport

    def send(self, request: HttpRequest, timeout: Timeout) -> HttpResponse:
        """The reply to *request*, waited for in the calling thread."""
        with self._translated(request, timeout):
            response = self.transport.handle_request(self._prepare(request, timeout))
            timeout.answered = True
            with closing(response):
                content = Content(response.headers)
                for chunk in response.stream:
                    content.add(chunk)
            return _reply(response, content.whole())

    async def asend(self, request: HttpRequest, timeout: Timeout) -> HttpResponse:
        """The same in the running event loop."""
        with self._translated(request, timeout):
            response = await self.transport.handle_async_request(self._prepare(request, timeout))
            timeout.answered = True
            async with aclosing(response):
                content = Content(response.headers)
                async for chunk in response.stream:
                    content.add(chunk)
            return _reply(response, content.whole())

    def close(self) -> None:
        self.transport.close()

    async def aclose(self) -> None:
        """Close every connection, even if the loop is ending and cancels everything."""
        connections = self.transport._pool.connections  # noqa: SLF001 -- it has no other way to see them
        try:
            await self.transport.aclose()
        except asyncio.CancelledError:
            for connection in connections:
                await connection.aclose()
            raise

    def _prepare(self, request: HttpRequest, timeout: Timeout) -> Any:  # noqa: ANN401 -- the library's own Request
        return self._library.Request(
            request.method,
            request.url,
            headers={**request.headers, **request.auth},
            content=request.content,
            extensions={"timeout": dict.fromkeys(("connect", "read", "write", "pool"), timeout)},
        )

    @contextmanager
    def _translated(self, request: HttpRequest, timeout: Timeout) -> Generator[None]:
        library = self._library
        handled = sys.exception()
        try:
            yield
        except UnreadableReplyError as error:
            drop_frames(error, handled)
            raise
        except (library.HTTPError, ConnectionError, BrokenReplyError) as error:
            drop_frames(error, handled)
            if isinstance(error, library.TimeoutException) and not timeout.deadline.remaining():
                raise TimeoutError(type(error).__name__) from error
            what, why = _what_failed(library, error), system_reason(causes(error)) or error
            raise TransportError(
                f"{what} {urlsplit(request.url).netloc} ({type(error).__name__}: {why})",
                can_heal=_can_heal(library, error),
                stale=not (timeout.connected or timeout.answered)
                and isinstance(error, library.NetworkError | library.RemoteProtocolError),
                sent=not isinstance(error, library.ConnectError | library.ConnectTimeout | library.ProxyError),
            ) from error


@dataclass
class _Shard:
    """A pool, and how many requests it has under way."""

    pool: HttpxPool
    taken: int = 0


class HttpxPools:
    """The open pools of one event loop, `SHARD` connections each: a pool looks through all that it has at every step.

    Two hundred requests at once through one pool cost twice what they cost through ten.

    Args:
        open_pool: Opens one more.
    """

    def __init__(self, open_pool: Callable[[], HttpxPool]) -> None:
        self._open = open_pool
        self.shards = [_Shard(open_pool())]

    async def asend(self, request: HttpRequest, timeout: Timeout) -> HttpResponse:
        """The reply to *request*, over the first pool that has room: the last ones are for bursts."""
        shard = next((one for one in self.shards if one.taken < SHARD), None)
        if shard is None:
            shard = _Shard(self._open())
            self.shards.append(shard)
        shard.taken += 1
        try:
            return await shard.pool.asend(request, timeout)
        finally:
            shard.taken -= 1

    async def aclose(self) -> None:
        """Close every connection, even if the loop is ending and cancels everything."""
        async with AsyncExitStack() as stack:
            for shard in self.shards:
                stack.push_async_callback(shard.pool.aclose)


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


def _reply(response: Any, content: bytes) -> HttpResponse:  # noqa: ANN401 -- the library's own Response
    headers = {name.lower(): value for name, value in response.headers.items()}
    return HttpResponse(response.status_code, headers, content)
