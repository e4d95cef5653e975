"""A deadline for blocking sockets.

HTTP libraries give every single read and write the full time again, so that a server that drips a byte now and
then is never too late: half a second once took twenty.  Here each read may take what is left until the deadline,
computed at that read.  (In an event loop, cancelling does the same.)
"""

from __future__ import annotations

import socket
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from rerankkit._endpoint import is_address
from rerankkit.deadline import Deadline

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable

    import httpcore

LONGEST_WAIT = 86_400.0  # seconds; sockets refuse what their clock cannot hold
CHUNK = 65_536  # bytes handed to the socket at once; the time is looked at in between


class Timeout(float):
    """Seconds until a deadline as of now, and the deadline itself for those who ask later.

    It accompanies one request through the HTTP library, and knows how far that came.

    Attributes:
        connected: Whether a connection was opened for it, or tried to; if not, it uses one that had been kept.
        answered: Whether the head of a reply has arrived.
    """

    deadline: Deadline
    connected = False
    answered = False

    @classmethod
    def until(cls, deadline: Deadline) -> Timeout:
        """The time left of *deadline*, as HTTP libraries want it told."""
        timeout = cls(deadline.remaining())
        timeout.deadline = deadline
        return timeout


def _connecting(timeout: float | None) -> None:
    if isinstance(timeout, Timeout):
        timeout.connected = True


def _time_for(timeout: float | None, too_late: type[Exception]) -> float | None:
    """Seconds that the next wait may take."""
    left = timeout.deadline.remaining() if isinstance(timeout, Timeout) else timeout
    if left is None:
        return None
    if left <= 0:  # to a socket, a timeout of 0 means something else
        raise too_late("the deadline has passed")
    return min(left, LONGEST_WAIT)


class DeadlineBackend:
    """An httpcore network backend whose streams keep the deadline that a request's `Timeout` carries.

    Args:
        inner: Who opens the sockets.
        core: httpcore, or its like.
        is_closed: Whether whoever wanted the connections has gone; one that comes too late is closed at once.
    """

    def __init__(self, inner: httpcore.NetworkBackend, core: Any, is_closed: Callable[[], bool]) -> None:  # noqa: ANN401 -- a module
        self._inner = inner
        self._core = core
        self._is_closed = is_closed

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> DeadlineStream:
        _connecting(timeout)
        stream = self._connect(self._addresses(host, port, timeout), port, timeout, local_address, socket_options)
        if self._is_closed():
            stream.close()
            raise self._core.ConnectError("the client was closed")
        return DeadlineStream(stream, self._core.ReadTimeout)

    def _addresses(self, host: str, port: int, timeout: float | None) -> list[str]:
        """All that the name stands for: the socket library would give each of them the whole time."""
        try:
            found = _resolved(host, port, _time_for(timeout, self._core.ConnectTimeout))
        except TimeoutError as error:
            raise self._core.ConnectTimeout(f"the name {host} was not resolved in time") from error
        except OSError as error:
            raise self._core.ConnectError(str(error)) from error
        return list(dict.fromkeys(str(address[0]) for *_, address in found))

    def _connect(
        self,
        addresses: list[str],
        port: int,
        timeout: float | None,
        local_address: str | None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None,
    ) -> httpcore.NetworkStream:
        """A connection to the first address that answers; each may take its share of the time left."""
        first, *others = addresses
        left = _time_for(timeout, self._core.ConnectTimeout)
        share = None if left is None else left / len(addresses)
        try:
            return self._inner.connect_tcp(first, port, share, local_address, socket_options)
        except (self._core.ConnectError, self._core.ConnectTimeout):
            if not others:
                raise
        return self._connect(others, port, timeout, local_address, socket_options)


class AsyncBackend:
    """An httpcore network backend for event loops that tells a request's `Timeout` when it opens a connection for it.

    Args:
        inner: Who opens the sockets.
        core: httpcore, or its like.
        is_closed: Whether whoever wanted the connections has gone; none is opened for them.
    """

    def __init__(self, inner: httpcore.AsyncNetworkBackend, core: Any, is_closed: Callable[[], bool]) -> None:  # noqa: ANN401 -- a module
        self._inner = inner
        self._core = core
        self._is_closed = is_closed

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        _connecting(timeout)
        stream = await self._inner.connect_tcp(host, port, timeout, local_address, socket_options)
        if self._is_closed():
            await stream.aclose()
            raise self._core.ConnectError("the client was closed")
        return stream


class DeadlineStream:
    """A stream that asks, before each read and write, how much time is left."""

    def __init__(self, inner: httpcore.NetworkStream, too_late: type[Exception]) -> None:
        self._inner = inner
        self._too_late = too_late

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _time_for(timeout, self._too_late))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), CHUNK):
            self._inner.write(buffer[start : start + CHUNK], _time_for(timeout, self._too_late))

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> DeadlineStream:
        left = _time_for(timeout, self._too_late)
        return DeadlineStream(self._inner.start_tls(ssl_context, server_hostname, left), self._too_late)

    def close(self) -> None:
        self._inner.close()

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 -- httpcore's signature
        return self._inner.get_extra_info(info)


def _resolved(host: str, port: int, seconds: float | None) -> list[Any]:
    """What a name stands for, looked up in a thread that nobody has to wait for: name servers keep no deadline.

    Raises:
        TimeoutError: It took longer than *seconds*.
        OSError: There is no such name.
    """
    if is_address(host):
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    answer: Future[list[Any]] = Future()
    threading.Thread(target=_resolve, args=(answer, host, port), name="rerankkit-resolver", daemon=True).start()
    return answer.result(seconds)


def _resolve(answer: Future[list[Any]], host: str, port: int) -> None:
    try:
        answer.set_result(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except Exception as error:  # noqa: BLE001 -- whoever waits for the answer gets it
        answer.set_exception(error)
