"""The connection pools of one client, and the only module that knows which HTTP library is in use.

One pool serves blocking calls, one more each event loop, and none crosses a fork.  Redirects are never followed:
on another host they would carry key and texts along.
"""

from __future__ import annotations

import asyncio
import codecs
import importlib
import importlib.util
import os
import ssl
import sys
import threading
import weakref
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import aclosing, closing, contextmanager, suppress
from functools import cache
from typing import Any, Literal, NamedTuple, TypeAlias
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from rerankkit._content import ACCEPTED, BrokenReplyError, Content
from rerankkit._deadline_stream import AsyncBackend, DeadlineBackend, Timeout
from rerankkit._endpoint import is_loopback
from rerankkit._forking import UNDIVIDED
from rerankkit._version import __version__
from rerankkit._wire import HttpRequest, HttpResponse
from rerankkit.deadline import Deadline
from rerankkit.errors import InvalidRequestError
from rerankkit.retry import MOST_KEPT

Transport: TypeAlias = Literal["httpx", "httpx2"]

OWN_HEADERS = {"User-Agent": f"rerankkit/{__version__}", "Accept-Encoding": ACCEPTED}
MAX_CONNECTIONS = 100  # of one pool; who finds none free waits its turn here, for httpx's own queue forgets its waiters


class TransportError(Exception):
    """No complete reply arrived; its cause is the library's own exception.

    Attributes:
        can_heal: Whether another attempt may fare better.
        stale: Whether the connection had been kept open, and was closed before it could serve this request.
    """

    def __init__(self, message: str, *, can_heal: bool = True, stale: bool = False) -> None:
        super().__init__(message)
        self.can_heal = can_heal
        self.stale = stale


class Library(NamedTuple):
    """An HTTP library with httpx's interface, and the connection pool under it."""

    httpx: Any
    httpcore: Any


@cache
def load(name: Transport) -> Library:
    try:
        with UNDIVIDED:
            codecs.lookup("idna")  # imported by the first look-up of a name otherwise
            return Library(importlib.import_module(name), importlib.import_module(name.replace("httpx", "httpcore")))
    except ModuleNotFoundError as error:
        raise InvalidRequestError(f"transport {name!r} is not installed: pip install 'rerankkit[{name}]'") from error


def check_transport(transport: Transport | None) -> Transport | None:
    if transport not in (None, "httpx", "httpx2"):
        raise InvalidRequestError(f"transport must be 'httpx', 'httpx2', or None for what is installed, got {transport!r}")
    return transport


@cache
def default_transport() -> Transport:
    """httpx2 where it is installed: the same interface, maintained, and much faster under concurrency."""
    return "httpx2" if importlib.util.find_spec("httpx2") else "httpx"


@cache
def ssl_context(name: Transport) -> ssl.SSLContext:
    """Built once a process, with the first pool: it takes tens of milliseconds."""
    with UNDIVIDED:  # OpenSSL has locks, too
        context: ssl.SSLContext = load(name).httpx.create_ssl_context()
    return context


def proxy_for(url: str) -> str | None:
    """The proxy that the environment names for *url*; never one for this machine itself."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    if is_loopback(host) or proxy_bypass(f"{host}:{port}"):
        return None
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    return proxy if proxy is None or "://" in proxy else f"http://{proxy}"


class Http:
    """Sends requests to one base URL; safe to share among threads, event loops and forked processes."""

    def __init__(self, base_url: str, transport: Transport | None = None) -> None:
        self.base_url = base_url
        self.transport: Transport = check_transport(transport) or default_transport()
        self._closed = False
        self._pools = self._new_pools()

    def __reduce__(self) -> tuple[type[Http], tuple[str, Transport]]:
        return (Http, (self.base_url, self.transport))  # a copy, or a pickle, opens connections of its own

    def send(self, request: HttpRequest, deadline: Deadline) -> HttpResponse:
        """The reply to *request*, waited for in the calling thread.

        Raises:
            TimeoutError: None came before *deadline*.
            TransportError: None can come.
            UnreadableReplyError: It is too long, or in a coding that was not asked for.
        """
        timeout = Timeout.until(deadline)
        with self._translated(request, timeout):
            with _slot(self._open_pools().slots, deadline):
                pool = self._open_pools().blocking(self)  # it may have been closed during the wait
                response = pool.handle_request(self._prepare(request, timeout))
                timeout.answered = True
                with closing(response):
                    content = Content(response.headers)
                    for chunk in response.stream:
                        content.add(chunk)
            return _reply(response, content.whole())

    async def asend(self, request: HttpRequest, deadline: Deadline) -> HttpResponse:
        """The same in the running event loop; the caller bounds it by *deadline*."""
        timeout = Timeout.until(deadline)
        with self._translated(request, timeout):
            async with (await self._open_pools().of_loop(self)).slots:
                found = await self._open_pools().of_loop(self)  # as above
                response = await found.pool.handle_async_request(self._prepare(request, timeout))
                timeout.answered = True
                async with aclosing(response):
                    content = Content(response.headers)
                    async for chunk in response.stream:
                        content.add(chunk)
            return _reply(response, content.whole())

    def close(self) -> None:
        """Close what blocking calls opened; what an event loop has open is closed with the loop."""
        self._closed = True
        self._pools.close()

    async def aclose(self) -> None:
        """Close what blocking calls and the running event loop opened."""
        self.close()  # first, so that calls under way open nothing more
        await self._pools.close_loop()

    def _open_pools(self) -> _Pools:
        if self._closed:
            raise InvalidRequestError("this client is closed: make a new one")
        if not self._pools.is_own():
            _INHERITED.append(self._pools)
            self._pools = self._new_pools()
        return self._pools

    def _new_pools(self) -> _Pools:
        pools = _Pools()
        weakref.finalize(self, pools.abandon)  # whoever drops this object without closing it leaves nothing open
        return pools

    def _prepare(self, request: HttpRequest, timeout: Timeout) -> Any:  # noqa: ANN401 -- the library's own Request
        return load(self.transport).httpx.Request(
            request.method,
            request.url,
            headers={**OWN_HEADERS, **request.headers, **request.auth},
            content=request.content,
            extensions={"timeout": dict.fromkeys(("connect", "read", "write", "pool"), timeout)},
        )

    @contextmanager
    def _translated(self, request: HttpRequest, timeout: Timeout) -> Generator[None]:
        library = load(self.transport).httpx
        handled = sys.exception()
        try:
            yield
        except (library.HTTPError, ConnectionError, BrokenReplyError) as error:
            _drop_frames(error, handled)
            if isinstance(error, library.TimeoutException) and not timeout.deadline.remaining():
                raise TimeoutError(type(error).__name__) from error
            what = _what_failed(library, error)
            raise TransportError(
                f"{what} {urlsplit(request.url).netloc} ({type(error).__name__}: {_reason(error)})",
                can_heal=_can_heal(library, error),
                stale=not (timeout.connected or timeout.answered)
                and isinstance(error, library.NetworkError | library.RemoteProtocolError),
            ) from error


_INHERITED: list[_Pools] = []
"""Pools of a parent process.  Their sockets are the parent's: closing them, even by garbage collection, could
write to its connections, and using them would read its answers."""


class _LoopPool(NamedTuple):
    """An event loop's pool.

    Attributes:
        slots: As many as the pool has connections. Others wait in line here: the library would look through all of them at
            every step, and 2,000 calls at once, over httpx 0.28, were not through in half a minute.
        keeper: The generator that closes the pool with the loop.
    """

    pool: Any
    slots: asyncio.Semaphore
    keeper: AsyncGenerator[None]


class _Pools:
    """The pools one process has opened for one client.

    Attributes:
        slots: One for each connection that blocking calls may have at a time.
    """

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._closed = False
        self.slots = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._blocking: Any = None
        self._of_loops: dict[asyncio.AbstractEventLoop, _LoopPool] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def is_own(self) -> bool:
        """Whether this process opened them."""
        return self._pid == os.getpid()

    def blocking(self, http: Http) -> Any:  # noqa: ANN401 -- the library's own transport
        with self._lock:
            if self._blocking is None:
                self._blocking = _blocking_pool(http, lambda: self._closed)
            return self._blocking

    async def of_loop(self, http: Http) -> _LoopPool:
        loop = asyncio.get_running_loop()
        found = self._of_loops.get(loop)
        if found is None:
            self._forget_closed_loops()
            pool = _loop_pool(http, lambda: self._closed)
            found = self._of_loops[loop] = _LoopPool(pool, asyncio.Semaphore(MAX_CONNECTIONS), self._keep(loop, pool))
            await anext(found.keeper)
        return found

    async def _keep(self, loop: asyncio.AbstractEventLoop, pool: Any) -> AsyncGenerator[None]:  # noqa: ANN401 -- as above
        """Closes *pool* with its loop, which ends the async generators that are still open before it closes."""
        try:
            yield
        finally:
            self._of_loops.pop(loop, None)
            await _close_all(pool)

    def _forget_closed_loops(self) -> None:
        """Drop the pools of loops that were closed without ending their generators; nobody can close these pools now."""
        for loop in [loop for loop in self._of_loops if loop.is_closed()]:
            self._of_loops.pop(loop, None)

    def close(self) -> None:
        """Close what blocking calls opened, if this process did."""
        if self.is_own():
            self._closed = True
            with self._lock:
                pool, self._blocking = self._blocking, None
            if pool is not None:
                pool.close()

    def abandon(self) -> None:
        """Close everything: nobody can use it any more. Each loop closes what it has open in one of its next turns."""
        self.close()
        for loop in list(self._of_loops) if self.is_own() else ():
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._begin_closing, loop)

    def _begin_closing(self, loop: asyncio.AbstractEventLoop) -> None:
        self._closing.add(loop.create_task(self.close_loop()))

    async def close_loop(self) -> None:
        """Close what the running loop opened, if this process did."""
        found = self._of_loops.get(asyncio.get_running_loop()) if self.is_own() else None
        if found is not None:
            await found.keeper.aclose()


@contextmanager
def _slot(slots: threading.Semaphore, deadline: Deadline) -> Generator[None]:
    """One of *slots*.

    Raises:
        TimeoutError: None came free before *deadline*.
    """
    if not slots.acquire(timeout=deadline.remaining()):
        raise TimeoutError("no connection came free")
    try:
        yield
    finally:
        slots.release()


def _blocking_pool(http: Http, is_closed: Callable[[], bool]) -> Any:  # noqa: ANN401 -- the library's own transport
    library = load(http.transport)
    pool = _open(http, library.httpx.HTTPTransport)
    backend = DeadlineBackend(library.httpcore.SyncBackend(), library.httpcore, is_closed)
    # The library hands no network backend through to its pool; tests on real sockets hold these lines for each.
    pool._pool._network_backend = backend  # noqa: SLF001 -- see above
    return pool


def _loop_pool(http: Http, is_closed: Callable[[], bool]) -> Any:  # noqa: ANN401 -- the library's own transport
    library = load(http.transport)
    pool = _open(http, library.httpx.AsyncHTTPTransport)
    backend = AsyncBackend(pool._pool._network_backend, library.httpcore, is_closed)  # noqa: SLF001 -- as above
    pool._pool._network_backend = backend  # noqa: SLF001 -- as above
    return pool


async def _close_all(pool: Any) -> None:  # noqa: ANN401 -- the library's own transport
    """Close *pool* to its last connection, even if the loop is ending and cancels everything."""
    connections = pool._pool.connections  # noqa: SLF001 -- as above
    try:
        await pool.aclose()
    except asyncio.CancelledError:
        for connection in connections:
            await connection.aclose()
        raise


def _what_failed(library: Any, error: Exception) -> str:  # noqa: ANN401 -- a module
    if isinstance(error, library.ProxyError):
        return "the proxy refused to connect to"
    is_connecting = isinstance(error, library.ConnectError | library.ConnectTimeout)
    return "cannot connect to" if is_connecting else "no complete answer from"


_TLS_CUT = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
"""How a connection ends during the greetings of TLS, in contrast to one that either side refuses."""


def _can_heal(library: Any, error: Exception) -> bool:  # noqa: ANN401 -- a module
    """Whether another attempt may fare better: not where a certificate, old TLS or a proxy's rules stand in the way."""
    if isinstance(error, library.ProxyError):
        return not str(error).startswith("4")
    refusals = (found for found in _causes(error) if isinstance(found, ssl.SSLError))
    return not isinstance(error, library.ConnectError) or all(isinstance(found, _TLS_CUT) for found in refusals)


def _reason(error: Exception) -> str:
    """What the operating system said, where it did; the libraries' own words are vaguer."""
    return next((str(found) for found in _causes(error) if isinstance(found, OSError) and found.strerror), str(error))


def _drop_frames(error: BaseException, stop: BaseException | None) -> None:
    """Forget where in the library *error* and its causes arose, up to *stop*, which the caller was handling before.

    A frame there may hold the bytes that were being sent, key and all, and error trackers record what frames hold.
    """
    left: list[BaseException | None] = [error]
    seen = {id(stop)}
    while left:
        found = left.pop()
        if found is not None and id(found) not in seen:
            seen.add(id(found))
            found.__traceback__ = None
            left += [found.__cause__, found.__context__]


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """*error*, what it came from, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _open(http: Http, transport: Callable[..., Any]) -> Any:  # noqa: ANN401 -- the library's own transport
    """A pool, by way of the environment's proxy.

    Raises:
        InvalidRequestError: The library cannot use that proxy; its address is not shown, it may hold a password.
    """
    proxy = proxy_for(http.base_url)
    library = load(http.transport).httpx
    limits = library.Limits(max_connections=None, max_keepalive_connections=MOST_KEPT)
    try:
        _ = urlsplit(proxy or "").port  # raises for one that cannot be
        return transport(verify=ssl_context(http.transport), proxy=proxy, limits=limits)
    except (ValueError, ImportError, library.InvalidURL):
        scheme, host = (proxy or "").partition("://")[0], urlsplit(http.base_url).hostname
    raise InvalidRequestError(
        f"the environment's proxy for {host} ({scheme}://...) cannot be used: http:// and https:// can, socks5:// with the "
        f"package socksio; correct HTTPS_PROXY or ALL_PROXY, or put {host} into NO_PROXY"
    )


def _reply(response: Any, content: bytes) -> HttpResponse:  # noqa: ANN401 -- the library's own Response
    headers = {name.lower(): value for name, value in response.headers.items()}
    return HttpResponse(response.status_code, headers, content)
