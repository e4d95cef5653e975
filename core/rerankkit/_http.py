"""Requests over HTTP, sent through the pools of one client.

None crosses a fork.  Redirects are never followed: on another host they would carry key and texts along.
"""

from __future__ import annotations

import ssl
import sys
import threading
import weakref
from collections.abc import Generator, Iterator
from contextlib import aclosing, closing, contextmanager
from typing import Any
from urllib.parse import urlsplit

from rerankkit._content import ACCEPTED, BrokenReplyError, Content, UnreadableReplyError
from rerankkit._deadline_stream import Timeout
from rerankkit._library import Transport, check_transport, default_transport, load
from rerankkit._pools import Pools
from rerankkit._version import __version__
from rerankkit._wire import HttpRequest, HttpResponse
from rerankkit.deadline import Deadline
from rerankkit.errors import InvalidRequestError

load(default_transport())  # with this module: 50 to 100 ms are too long for a first call, or for an event loop

OWN_HEADERS = {"User-Agent": f"rerankkit/{__version__}", "Accept-Encoding": ACCEPTED}


class TransportError(Exception):
    """No complete reply arrived; its cause is the library's own exception.

    Attributes:
        can_heal: Whether another attempt may fare better.
        stale: Whether the connection had been kept open, and was closed before it could serve this request.
        sent: Whether some of the request may have been sent.
    """

    def __init__(self, message: str, *, can_heal: bool = True, stale: bool = False, sent: bool = True) -> None:
        super().__init__(message)
        self.can_heal = can_heal
        self.stale = stale
        self.sent = sent


class Http:
    """Sends requests to one base URL; safe to share among threads, event loops and forked processes."""

    def __init__(self, base_url: str, transport: Transport | None = None) -> None:
        self.base_url = base_url
        self.transport: Transport = check_transport(transport) or default_transport()
        load(self.transport)  # before the first call, which may hold up an event loop
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
                pool = self._open_pools().blocking()  # it may have been closed during the wait
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
            async with (await self._open_pools().of_loop()).slots:
                found = await self._open_pools().of_loop()  # as above
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

    def _open_pools(self) -> Pools:
        if self._closed:
            raise InvalidRequestError("this client is closed: make a new one")
        if not self._pools.is_own():
            _INHERITED.append(self._pools)
            self._pools = self._new_pools()
        return self._pools

    def _new_pools(self) -> Pools:
        pools = Pools(self.base_url, self.transport)
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
        except UnreadableReplyError as error:
            _drop_frames(error, handled)
            raise
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
                sent=not isinstance(error, library.ConnectError | library.ConnectTimeout | library.ProxyError),
            ) from error


_INHERITED: list[Pools] = []
"""Pools of a parent process.  Their sockets are the parent's: closing them, even by garbage collection, could
write to its connections, and using them would read its answers."""


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


def _reply(response: Any, content: bytes) -> HttpResponse:  # noqa: ANN401 -- the library's own Response
    headers = {name.lower(): value for name, value in response.headers.items()}
    return HttpResponse(response.status_code, headers, content)
