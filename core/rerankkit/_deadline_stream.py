"""A deadline for blocking sockets.

HTTP libraries give every single read and write the full time again, so that a server that drips a byte now and
then is never too late: half a second once took twenty.  Here each read may take what is left until the deadline,
computed at that read.  (In an event loop, cancelling does the same.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rerankkit.deadline import Deadline

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable

    import httpcore

CHUNK = 65_536  # bytes handed to the socket at once; the time is looked at in between


class Timeout(float):
    """Seconds until a deadline as of now, and the deadline itself for those who ask later."""

    deadline: Deadline

    @classmethod
    def until(cls, deadline: Deadline) -> Timeout:
        """The time left of *deadline*, as HTTP libraries want it told."""
        timeout = cls(deadline.remaining())
        timeout.deadline = deadline
        return timeout


def _left(timeout: float | None) -> float | None:
    return timeout.deadline.remaining() if isinstance(timeout, Timeout) else timeout


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
        stream = self._inner.connect_tcp(host, port, _left(timeout), local_address, socket_options)
        if self._is_closed():
            stream.close()
            raise self._core.ConnectError("the client was closed")
        return DeadlineStream(stream, self._core.ReadTimeout)


class DeadlineStream:
    """A stream that asks, before each read and write, how much time is left."""

    def __init__(self, inner: httpcore.NetworkStream, too_late: type[Exception]) -> None:
        self._inner = inner
        self._too_late = too_late

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._time_for(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), CHUNK):
            self._inner.write(buffer[start : start + CHUNK], self._time_for(timeout))

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> DeadlineStream:
        return DeadlineStream(self._inner.start_tls(ssl_context, server_hostname, self._time_for(timeout)), self._too_late)

    def close(self) -> None:
        self._inner.close()

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 -- httpcore's signature
        return self._inner.get_extra_info(info)

    def _time_for(self, timeout: float | None) -> float | None:
        left = _left(timeout)
        if left is not None and left <= 0:  # to a socket, a timeout of 0 means something else
            raise self._too_late("the deadline has passed")
        return left
