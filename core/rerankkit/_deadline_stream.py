"""A deadline for blocking sockets.

HTTP libraries give every single read and write the full time again, so that a server that drips a byte now and
then is never too late: half a second once took twenty.  Here each read may take what is left until the deadline,
computed at that read.  (In an event loop, cancelling does the same.)
"""

from __future__ import annotations

import socket
import ssl
import threading
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from rerankkit._content import UnreadableReplyError
from rerankkit._endpoint import is_address
from rerankkit._halting import interruptible
from rerankkit.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import httpcore

LONGEST_WAIT = 86_400.0  # seconds; sockets refuse what their clock cannot hold
MAX_HEAD_BYTES = 65_536  # and no more are read while the head of a reply is not whole
HEAD_CHUNK = 2_048  # bytes of it, and of what follows it, that are read at once: interim replies are a lot of work for so few
CHUNK = 65_536  # bytes handed to the library at once; the time is looked at in between


class Timeout(float):
    """Seconds until a deadline as of now, and the deadline itself for those who ask later.

    It accompanies one request through the HTTP library, and knows how far that came.

    Attributes:
        connected: Whether a connection was opened for it, or tried to; if not, it uses one that had been kept.
        answered: Whether the head of a reply has arrived.
        received: Bytes that have come.
    """

    deadline: Deadline
    connected = False
    answered = False
    received = 0

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
        **options: Any,  # noqa: ANN401 -- httpcore's, handed on
    ) -> DeadlineStream:
        _connecting(timeout)
        stream = self._connect(self._addresses(host, port, timeout), port, timeout, options)
        if self._is_closed():
            stream.close()
            raise self._core.ConnectError("the client was closed")
        return DeadlineStream(stream, self._core, _socket_of(stream))

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
        options: Mapping[str, Any],
    ) -> httpcore.NetworkStream:
        """A connection to the first address that answers; each may take its share of the time left."""
        first, *others = addresses
        left = _time_for(timeout, self._core.ConnectTimeout)
        share = None if left is None else left / len(addresses)
        try:
            return self._inner.connect_tcp(first, port, share, **options)
        except (self._core.ConnectError, self._core.ConnectTimeout):
            if not others:
                raise
        return self._connect(others, port, timeout, options)


class AsyncBackend:
    """An httpcore network backend for event loops that tells a request's `Timeout` how far the request has come.

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
        **options: Any,  # noqa: ANN401 -- as above
    ) -> AsyncStream:
        _connecting(timeout)
        stream = await self._inner.connect_tcp(host, port, timeout, **options)
        if self._is_closed():
            await stream.aclose()
            raise self._core.ConnectError("the client was closed")
        return AsyncStream(stream)


class DeadlineStream:
    """A stream that asks, before each read and write, how much time is left, and bounds the head of a reply.

    Args:
        inner: The library's own.
        core: httpcore, or its like.
        sender: What *inner* sends with, if it does no more than that; None: *inner* does.
    """

    def __init__(self, inner: httpcore.NetworkStream, core: Any, sender: socket.socket | None = None) -> None:  # noqa: ANN401 -- a module
        self._inner = inner
        self._core = core
        self._sender = sender

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        most = _most_to_read(max_bytes, timeout)
        with interruptible(self._hang_up):
            return _counted(self._inner.read(most, _time_for(timeout, self._core.ReadTimeout)), timeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        rest = memoryview(buffer)
        if not rest:  # the end of a request
            return
        with interruptible(self._hang_up):
            while rest:
                rest = rest[self._write_some(rest, _time_for(timeout, self._core.WriteTimeout)) :]

    def _write_some(self, rest: memoryview, seconds: float | None) -> int:
        """How much of *rest* was handed over.

        A socket takes what there is room for: for 1 MB that is a quarter faster than to give it small pieces.  The library
        goes on until all is written, with the same time for each attempt: it is given small ones.
        """
        if self._sender is None:
            self._inner.write(rest[:CHUNK], seconds)  # type: ignore[arg-type]  # memoryviews are bytes enough
            return CHUNK
        try:
            self._sender.settimeout(seconds)
            return self._sender.send(rest)
        except TimeoutError as error:
            raise self._core.WriteTimeout(str(error)) from error
        except OSError as error:
            raise self._core.WriteError(str(error)) from error

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> DeadlineStream:
        left = _time_for(timeout, self._core.ConnectTimeout)
        stream = self._inner.start_tls(ssl_context, server_hostname, left)
        is_within_tls = self._inner.get_extra_info("ssl_object") is not None  # whose socket knows the outer one alone
        return DeadlineStream(stream, self._core, None if is_within_tls else _socket_of(stream))

    def close(self) -> None:
        self._inner.close()

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 -- httpcore's signature
        return self._inner.get_extra_info(info)

    def _hang_up(self) -> None:
        """Wake the thread that reads or writes: nobody waits for what it does."""
        with suppress(OSError):  # it was closed meanwhile
            socket.socket.shutdown(self._inner.get_extra_info("socket"), socket.SHUT_RDWR)  # TLS would say goodbye first


def _socket_of(stream: httpcore.NetworkStream) -> socket.socket | None:
    found = stream.get_extra_info("socket")
    return found if isinstance(found, socket.socket) else None


class AsyncStream:
    """A stream of an event loop that bounds the head of a reply.

    Args:
        inner: The library's own.
        tls: Where it decrypts what the socket has given it.
    """

    def __init__(self, inner: httpcore.AsyncNetworkStream, tls: ssl.SSLObject | None = None) -> None:
        self._inner = inner
        self._tls = tls

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return _counted(await self._inner.read(_most_to_read(max_bytes, timeout), timeout), timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._inner.write(buffer, timeout)

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> AsyncStream:
        stream = await self._inner.start_tls(ssl_context, server_hostname, timeout)
        return AsyncStream(stream, stream.get_extra_info("ssl_object"))

    async def aclose(self) -> None:
        await self._inner.aclose()

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 -- as above
        found = self._inner.get_extra_info(info)
        return found or _holds_more(self._tls) if info == "is_readable" and self._tls is not None else found


def _holds_more(tls: ssl.SSLObject) -> bool:
    """Whether there is more to read, or an end: records that came together leave the socket together."""
    try:
        tls.read(1)
    except ssl.SSLWantReadError:
        return False
    except ssl.SSLError:
        pass
    return True


def _most_to_read(max_bytes: int, timeout: float | None) -> int:
    """How many bytes to ask for: few, and not for ever, before the head of the reply is whole.

    HTTP libraries bound a head, but not how many interim replies come before it, and take all that is there at once.

    Raises:
        UnreadableReplyError: Too many have come already.
    """
    if not isinstance(timeout, Timeout) or timeout.answered:
        return max_bytes
    if timeout.received >= MAX_HEAD_BYTES:
        raise UnreadableReplyError(f"the head of the answer is longer than {MAX_HEAD_BYTES:,} bytes")
    return min(max_bytes, HEAD_CHUNK)


def _counted(received: bytes, timeout: float | None) -> bytes:
    if isinstance(timeout, Timeout):
        timeout.received += len(received)
    return received


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
