"""HTTP/1.1, as h11 has it, over the network streams of httpcore.

httpcore's own connections say the same and take 35 us more for each request, of which there are 100 in all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any, NamedTuple, TypeAlias

import anyio
import h11

from rerankkit._content import Content
from rerankkit._deadline_stream import CHUNK, HEAD_CHUNK, Timeout
from rerankkit._wire import HttpRequest, HttpResponse, by_name

KEPT_SECONDS = 5.0  # that a connection may wait for its next request; httpx's own number
MAX_EVENT_BYTES = 100 * 1024  # of a head that is not whole; httpcore's own number


class Target(NamedTuple):
    """Where a request goes.

    Attributes:
        url: The library's own.
        origin: Whom to connect to.
        host: What the header ``Host`` says of it.
    """

    url: Any
    origin: Any
    host: str


Steps: TypeAlias = Generator[bytes | None, bytes | None, HttpResponse]
"""A conversation without its I/O: asks for bytes to be written, and is told None if that failed; or, by None, for some that
were read, of which b"" is the end."""


class Talk:
    """What is said over one connection.

    Args:
        core: httpcore, or its like, whose errors are raised.

    Attributes:
        is_idle: Whether another request may follow: the last reply has ended, and so that one can.
    """

    def __init__(self, core: Any) -> None:  # noqa: ANN401 -- a module
        self._core = core
        self._state = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_EVENT_BYTES)
        self._expires = 0.0
        self._last_read = 0
        self.is_idle = False

    def has_expired(self) -> bool:
        """Whether it has waited too long for its next request."""
        return time.monotonic() > self._expires

    def exchange(self, request: HttpRequest, goal: Target, timeout: Timeout) -> Steps:
        """Say *request*, and return the whole reply.

        Raises:
            Exception: One of httpcore's, for what is no HTTP.
        """
        self.is_idle = False
        yield from self._say(request, goal)
        response = yield from self._final_head()
        timeout.answered = True
        headers = by_name(response.headers.raw_items())
        content = Content(headers)
        while isinstance(event := (yield from self._heard()), h11.Data):
            content.add(bytes(event.data))
        self._end()
        return HttpResponse(response.status_code, headers, content.whole())

    def _say(self, request: HttpRequest, goal: Target) -> Generator[bytes | None, bytes | None, None]:
        headers = list(request.headers_to(goal.host).items())
        try:
            head = self._state.send(h11.Request(method=request.method, target=goal.url.target, headers=headers))
        except h11.LocalProtocolError as error:
            raise self._core.LocalProtocolError(str(error)) from error
        for part in (head, self._state.send(h11.Data(data=request.content)) if request.content else None):
            if part and (yield part) is None:
                return  # whoever does not read on may have said why: no end is said, and nothing more after the reply
        self._state.send(h11.EndOfMessage())

    def _final_head(self) -> Generator[bytes | None, bytes | None, h11.Response]:
        while not isinstance(event := (yield from self._heard()), h11.Response):
            pass  # an interim reply; h11 refuses to switch protocols unasked
        return event

    def _heard(self) -> Generator[bytes | None, bytes | None, type[h11.PAUSED | h11.NEED_DATA] | h11.Event]:
        while True:
            try:
                event = self._state.next_event()
            except h11.RemoteProtocolError as error:
                raise self._core.RemoteProtocolError(str(error)) from error
            if event is not h11.NEED_DATA:
                return event
            received = yield None
            if not received and self._state.their_state is h11.SEND_RESPONSE:
                raise self._core.RemoteProtocolError("Server disconnected without sending a response.")
            self._last_read = len(received or b"")
            self._state.receive_data(received or b"")

    def _end(self) -> None:
        """Be ready for another request, unless one side has said that none follows, or what follows was not asked for.

        After a read that took all it might, more may wait in TLS or in the event loop, where no look at the socket finds it.
        """
        state = self._state
        is_all = state.trailing_data == (b"", False) and self._last_read not in (HEAD_CHUNK, CHUNK)
        if state.our_state is h11.DONE and state.their_state is h11.DONE and is_all:
            state.start_next_cycle()
            self._expires = time.monotonic() + KEPT_SECONDS
            self.is_idle = True


class Connection:
    """One connection to an origin, for one request at a time; opened by the first.

    Args:
        core: httpcore, or its like.
        origin: Whom to connect to.
        connect: Opens a stream to it.
    """

    def __init__(self, core: Any, origin: Any, connect: Callable[[Any, Timeout], Any]) -> None:  # noqa: ANN401 -- the library's
        self._core = core
        self._origin = origin
        self._connect = connect
        self._talk = Talk(core)
        self._stream: Any = None

    def can_handle_request(self, origin: Any) -> bool:  # noqa: ANN401 -- the library's
        return bool(origin == self._origin)

    def is_idle(self) -> bool:
        """Whether it can serve another request."""
        return self._talk.is_idle

    def has_expired(self) -> bool:
        """Whether it waited too long, or the other side has closed it, or says what nobody asked."""
        return self._talk.has_expired() or bool(self._stream.get_extra_info("is_readable"))


class BlockingConnection(Connection):
    """For the calling thread."""

    def exchange(self, request: HttpRequest, goal: Target, timeout: Timeout) -> HttpResponse:
        """The reply to *request*."""
        if self._stream is None:
            self._stream = self._connect(self._origin, timeout)
        steps = self._talk.exchange(request, goal, timeout)
        try:
            wanted = next(steps)
            while True:
                wanted = steps.send(self._done(wanted, timeout))
        except StopIteration as stop:
            found: HttpResponse = stop.value
            return found

    def _done(self, wanted: bytes | None, timeout: Timeout) -> bytes | None:
        if wanted is None:
            received: bytes = self._stream.read(CHUNK, timeout)
            return received
        try:
            self._stream.write(wanted, timeout)
        except self._core.WriteError:
            return None
        return b""

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()


class AsyncConnection(Connection):
    """For an event loop."""

    async def aexchange(self, request: HttpRequest, goal: Target, timeout: Timeout) -> HttpResponse:
        """The reply to *request*."""
        if self._stream is None:
            self._stream = await self._connect(self._origin, timeout)
        steps = self._talk.exchange(request, goal, timeout)
        try:
            wanted = next(steps)
            while True:
                wanted = steps.send(await self._done(wanted, timeout))
        except StopIteration as stop:
            found: HttpResponse = stop.value
            return found

    async def _done(self, wanted: bytes | None, timeout: Timeout) -> bytes | None:
        if wanted is None:
            received: bytes = await self._stream.read(CHUNK, timeout)
            return received
        try:
            await self._stream.write(wanted, timeout)
        except self._core.WriteError:
            return None
        return b""

    async def aclose(self) -> None:
        if self._stream is not None:
            await self._stream.aclose()


def open_stream(backend: Any, context: Any, origin: Any, timeout: Timeout) -> Any:  # noqa: ANN401 -- the library's
    """A stream to *origin*, encrypted where it is to be."""
    host = origin.host.decode("ascii")
    stream = backend.connect_tcp(host, origin.port, timeout)
    if origin.scheme != b"https":
        return stream
    try:
        return stream.start_tls(context, host, timeout)
    except BaseException:
        stream.close()
        raise


async def aopen_stream(backend: Any, context: Any, origin: Any, timeout: Timeout) -> Any:  # noqa: ANN401 -- as above
    """The same in the running event loop."""
    host = origin.host.decode("ascii")
    stream = await backend.connect_tcp(host, origin.port, timeout)
    if origin.scheme != b"https":
        return stream
    try:
        return await stream.start_tls(context, host, timeout)
    except BaseException:
        with anyio.CancelScope(shield=True):
            await stream.aclose()
        raise
