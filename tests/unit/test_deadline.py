"""The time left, as one clock tells it to everything that waits."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpcore
import pytest

from rerankkit._content import UnreadableReplyError
from rerankkit._deadline_stream import (
    CHUNK,
    HEAD_CHUNK,
    LONGEST_WAIT,
    MAX_HEAD_BYTES,
    AsyncBackend,
    AsyncStream,
    DeadlineBackend,
    DeadlineStream,
    Timeout,
)
from rerankkit.deadline import Deadline


class Clock:
    """Stands still until it is told."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


class Network:
    """Keeps what it is asked; *refusing* addresses refuse."""

    def __init__(self, *refusing: str, error: type[Exception] = httpcore.ConnectError) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.refusing = refusing
        self.error = error

    def connect_tcp(self, host: str, *arguments: Any, **options: Any) -> Network:
        self.asked.append((host, *arguments, *options.items()))
        if host in self.refusing:
            raise self.error(host)
        return self

    def read(self, *arguments: Any) -> bytes:
        self.asked.append(("read", *arguments))
        return b"read"

    def write(self, *arguments: Any) -> None:
        self.asked.append(("write", *arguments))

    def start_tls(self, *arguments: Any) -> Network:
        self.asked.append(("start_tls", *arguments))
        return self

    def close(self) -> None:
        self.asked.append(("close",))

    def get_extra_info(self, info: str) -> str:
        return f"the {info}"


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What look-ups find: addresses by name; an error is raised."""
    found: dict[str, Any] = {}

    def look_up(host: str, port: int, *, type: int) -> list[Any]:  # noqa: A002 -- the socket library's name
        assert (port, type) == (443, socket.SOCK_STREAM)
        if isinstance(found[host], Exception):
            raise found[host]
        return [(socket.AF_INET, type, 6, "", (address, port)) for address in found[host]]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return found


def backend(network: Network, *, closed: bool = False) -> DeadlineBackend:
    return DeadlineBackend(network, httpcore, lambda: closed)  # type: ignore[arg-type]


def test_a_deadline_counts_down_to_zero(clock: Clock) -> None:
    deadline = Deadline(2.5)
    assert (deadline.at, deadline.seconds, deadline.remaining()) == (1_002.5, 2.5, 2.5)
    clock.now += 1
    assert deadline.remaining() == 1.5
    assert repr(deadline) == "<Deadline: 1.500 s of 2.5 s left>"
    clock.now += 1.5
    assert deadline.remaining() == 0
    clock.now += 10
    assert deadline.remaining() == 0


def test_a_wait_is_allowed_if_it_ends_before_the_deadline(clock: Clock) -> None:
    deadline = Deadline(2)
    assert deadline.allows(0)
    assert deadline.allows(1.999)
    assert not deadline.allows(2)
    assert not deadline.allows(3)
    clock.now += 2
    assert not deadline.allows(0)


def test_a_timeout_is_the_time_left_and_keeps_its_deadline(clock: Clock) -> None:
    deadline = Deadline(2)
    clock.now += 0.5
    timeout = Timeout.until(deadline)
    assert timeout == 1.5
    assert timeout.deadline is deadline
    assert (timeout.connected, timeout.answered) == (False, False)


def test_each_read_and_write_gets_what_is_left_at_that_moment(clock: Clock) -> None:
    network = Network()
    stream = DeadlineStream(network, httpcore)  # type: ignore[arg-type]
    timeout = Timeout.until(Deadline(2))
    assert stream.read(10, timeout) == b"read"
    clock.now += 1.5
    stream.write(b"ab", timeout)
    stream.read(10, timeout)
    assert network.asked == [("read", 10, 2.0), ("write", b"ab", 0.5), ("read", 10, 0.5)]
    clock.now += 0.5
    for late in (lambda: stream.read(10, timeout), lambda: stream.write(b"ab", timeout)):
        with pytest.raises(httpcore.TimeoutException, match="the deadline has passed"):
            late()
    assert len(network.asked) == 3


def test_a_time_of_another_kind_is_passed_on_and_one_too_long_for_a_socket_is_cut() -> None:
    network = Network()
    stream = DeadlineStream(network, httpcore)  # type: ignore[arg-type]
    for seconds in (None, 0.5, 1e9):
        stream.read(1, seconds)
    stream.read(1)
    stream.write(b"x")
    assert [asked[2] for asked in network.asked] == [None, 0.5, 86_400.0, None, None]
    assert LONGEST_WAIT == 86_400
    for seconds in (0, -1):
        with pytest.raises(httpcore.ReadTimeout):
            stream.read(1, seconds)


def test_a_long_text_is_written_piece_by_piece() -> None:
    network = Network()
    content = bytes(range(256)) * 1_000
    DeadlineStream(network, httpcore).write(content, 5)  # type: ignore[arg-type]
    pieces = [asked[1] for asked in network.asked]
    assert b"".join(pieces) == content
    assert [len(piece) for piece in pieces] == [CHUNK, CHUNK, CHUNK, len(content) - 3 * CHUNK]
    assert CHUNK == 65_536


class Narrow(socket.socket):
    """Takes three bytes at a time, and a second of *clock* for each time."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self.sent: list[tuple[bytes, float | None]] = []

    def send(self, data: Any, flags: int = 0) -> int:
        self.sent.append((bytes(data[:3]), self.gettimeout()))
        self.clock.now += 1
        return min(3, len(data))


def test_a_socket_gets_the_rest_with_what_is_left_of_the_time(clock: Clock) -> None:
    with Narrow(clock) as narrow:
        stream = DeadlineStream(Network(), httpcore, narrow)  # type: ignore[arg-type]
        stream.write(b"abcdefgh", Timeout.until(Deadline(4)))
        assert narrow.sent == [(b"abc", 4.0), (b"def", 3.0), (b"gh", 2.0)]
        with pytest.raises(httpcore.WriteTimeout, match="the deadline has passed"):
            stream.write(b"abcdefgh", Timeout.until(Deadline(2)))
        assert narrow.sent[3:] == [(b"abc", 2.0), (b"def", 1.0)]


@pytest.mark.parametrize(("failure", "told"), [(TimeoutError, httpcore.WriteTimeout), (BrokenPipeError, httpcore.WriteError)])
def test_a_failed_write_is_told_in_the_words_of_the_library(failure: type[Exception], told: type[Exception]) -> None:
    ours, theirs = socket.socketpair()
    with theirs, ours:
        if failure is BrokenPipeError:
            theirs.close()
        stream = DeadlineStream(Network(), httpcore, ours)  # type: ignore[arg-type]
        with pytest.raises(told) as caught:
            stream.write(bytes(10_000_000), 0.01)
        assert type(caught.value.__cause__) is failure


def test_a_stream_with_tls_keeps_the_deadline_as_well(clock: Clock) -> None:
    network = Network()
    context = ssl.create_default_context()
    timeout = Timeout.until(Deadline(2))
    clock.now += 1
    stream = DeadlineStream(network, httpcore).start_tls(context, "x.test", timeout)  # type: ignore[arg-type]
    stream.read(1, timeout)
    assert network.asked == [("start_tls", context, "x.test", 1.0), ("read", 1, 1.0)]
    clock.now += 1
    with pytest.raises(httpcore.ReadTimeout):
        stream.read(1, timeout)


def test_a_stream_is_otherwise_the_one_it_holds() -> None:
    network = Network()
    stream = DeadlineStream(network, httpcore)  # type: ignore[arg-type]
    assert stream.get_extra_info("socket") == "the socket"
    stream.close()
    assert network.asked == [("close",)]


def test_a_connection_is_opened_as_asked_for_within_the_time_left(clock: Clock, names: dict[str, Any]) -> None:
    names["x.test"] = ["192.0.2.1", "192.0.2.2", "192.0.2.1"]
    network = Network("192.0.2.1")
    timeout = Timeout.until(Deadline(4))
    stream = backend(network).connect_tcp("x.test", 443, timeout, local_address="127.0.0.9", socket_options=["an option"])
    assert network.asked == [
        ("192.0.2.1", 443, 2.0, ("local_address", "127.0.0.9"), ("socket_options", ["an option"])),
        ("192.0.2.2", 443, 4.0, ("local_address", "127.0.0.9"), ("socket_options", ["an option"])),
    ]
    assert timeout.connected
    clock.now += 4
    with pytest.raises(httpcore.ReadTimeout):
        stream.read(1, timeout)


def test_without_a_deadline_a_connection_takes_its_time(names: dict[str, Any]) -> None:
    names["x.test"] = ["192.0.2.1"]
    network = Network()
    backend(network).connect_tcp("x.test", 443)
    backend(network).connect_tcp("x.test", 443, 3.0)
    assert network.asked == [("192.0.2.1", 443, None), ("192.0.2.1", 443, 3.0)]


@pytest.mark.parametrize("error", [httpcore.ConnectError, httpcore.ConnectTimeout])
def test_the_failure_of_the_last_address_is_told(names: dict[str, Any], error: type[Exception]) -> None:
    names["x.test"] = ["192.0.2.1", "192.0.2.2"]
    network = Network("192.0.2.1", "192.0.2.2", error=error)
    with pytest.raises(error, match=r"^192\.0\.2\.2$"):
        backend(network).connect_tcp("x.test", 443, 5.0)
    assert len(network.asked) == 2


def test_what_is_no_failed_connection_is_not_tried_elsewhere(names: dict[str, Any]) -> None:
    names["x.test"] = ["192.0.2.1", "192.0.2.2"]
    network = Network("192.0.2.1", error=LookupError)
    with pytest.raises(LookupError):
        backend(network).connect_tcp("x.test", 443, 5.0)
    assert len(network.asked) == 1


def test_a_connection_that_comes_after_its_client_was_closed_is_closed(names: dict[str, Any]) -> None:
    names["x.test"] = ["192.0.2.1"]
    network = Network()
    with pytest.raises(httpcore.ConnectError, match="the client was closed"):
        backend(network, closed=True).connect_tcp("x.test", 443, 5.0)
    assert network.asked[1:] == [("close",)]


def test_a_name_that_is_none_is_a_failed_connection(names: dict[str, Any]) -> None:
    names["x.test"] = socket.gaierror(-2, "Name or service not known")
    with pytest.raises(httpcore.ConnectError, match="Name or service not known") as caught:
        backend(Network()).connect_tcp("x.test", 443, Timeout.until(Deadline(5)))
    assert caught.value.__cause__ is names["x.test"]


def test_no_name_is_looked_up_after_the_deadline(clock: Clock, names: dict[str, Any]) -> None:
    timeout = Timeout.until(Deadline(1))
    clock.now += 1
    with pytest.raises(httpcore.ConnectTimeout, match="the deadline has passed"):
        backend(Network()).connect_tcp("x.test", 443, timeout)
    assert timeout.connected, "it was tried"


def test_an_address_needs_no_look_up_in_a_thread(names: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "Thread", None)
    for address in ("192.0.2.1", "2001:db8::1"):
        names[address] = [address]
        network = Network()
        backend(network).connect_tcp(address, 443, 5.0)
        assert network.asked == [(address, 443, 5.0)]


@pytest.fixture
def slow_names(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[threading.Thread]]:
    """Look-ups that do not end, and the threads in which they run."""
    release = threading.Event()
    looking: list[threading.Thread] = []

    def look_up(*_: Any, **__: Any) -> list[Any]:
        looking.append(threading.current_thread())
        release.wait(30)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    yield looking
    release.set()
    for thread in looking:
        thread.join()


def test_a_slow_look_up_ends_with_the_deadline_and_holds_nobody_up(slow_names: list[threading.Thread]) -> None:
    with pytest.raises(httpcore.ConnectTimeout, match="the name x.test was not resolved in time") as caught:
        backend(Network()).connect_tcp("x.test", 443, Timeout.until(Deadline(0.1)))
    assert isinstance(caught.value.__cause__, TimeoutError)
    assert [(thread.name, thread.daemon) for thread in slow_names] == [("rerankkit-resolver", True)]


class Loop(Network):
    """The same in an event loop."""

    async def connect_tcp(self, *arguments: Any, **options: Any) -> Loop:  # type: ignore[override]
        super().connect_tcp(*arguments, **options)
        return self

    async def read(self, *arguments: Any) -> bytes:  # type: ignore[override]
        return super().read(*arguments)

    async def write(self, *arguments: Any) -> None:  # type: ignore[override]
        super().write(*arguments)

    async def start_tls(self, *arguments: Any) -> Loop:  # type: ignore[override]
        super().start_tls(*arguments)
        return self

    async def aclose(self) -> None:
        self.close()


async def connected(network: Loop, timeout: Timeout, *, closed: bool = False) -> AsyncStream:
    backend = AsyncBackend(network, httpcore, lambda: closed)  # type: ignore[arg-type]
    return await backend.connect_tcp("x.test", 443, timeout, local_address="127.0.0.9")


def test_in_an_event_loop_a_timeout_is_told_of_its_connection() -> None:
    network = Loop()
    timeout = Timeout.until(Deadline(5))
    asyncio.run(connected(network, timeout))
    assert network.asked == [("x.test", 443, timeout, ("local_address", "127.0.0.9"))]
    assert timeout.connected


def test_in_an_event_loop_a_connection_that_comes_too_late_is_closed() -> None:
    network = Loop()
    with pytest.raises(httpcore.ConnectError, match="the client was closed"):
        asyncio.run(connected(network, Timeout.until(Deadline(5)), closed=True))
    assert network.asked[1:] == [("close",)]


def test_in_an_event_loop_a_stream_is_otherwise_the_one_it_holds() -> None:
    network, timeout = Loop(), Timeout.until(Deadline(5))

    async def scenario() -> None:
        stream = await (await connected(network, timeout)).start_tls("a context", "x.test", timeout)  # type: ignore[arg-type]
        assert await stream.read(9, timeout) == b"read"
        await stream.write(b"written", timeout)
        assert stream.get_extra_info("socket") == "the socket"
        await stream.aclose()

    asyncio.run(scenario())
    assert network.asked[1:] == [
        ("start_tls", "a context", "x.test", timeout),
        ("read", 9, timeout),
        ("write", b"written", timeout),
        ("close",),
    ]


# The head of a reply


class Talkative(Loop):
    """Has as much to say as is asked for."""

    async def read(self, most: int, *_: Any) -> bytes:  # type: ignore[override]
        return bytes(most)


class Prattling(Network):
    """The same for blocking calls."""

    def read(self, most: int, *_: Any) -> bytes:
        return bytes(most)


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_the_head_of_a_reply_is_read_in_small_pieces_and_bounded_and_its_body_is_not(colour: str) -> None:
    streams: dict[str, Any] = {
        "sync": DeadlineStream(Prattling(), httpcore),  # type: ignore[arg-type]
        "async": AsyncStream(Talkative()),  # type: ignore[arg-type]
    }

    async def length(timeout: float | None, most: int = 65_536) -> int:
        found = streams[colour].read(most, timeout)
        return len(found if colour == "sync" else await found)

    async def scenario() -> None:
        timeout = Timeout.until(Deadline(5))
        assert [await length(timeout, 5), await length(timeout, 5)] == [5, 5]
        assert [await length(timeout) for _ in range(32)] == [HEAD_CHUNK] * 32
        with pytest.raises(UnreadableReplyError, match="the head of the answer is longer than 65,536 bytes"):
            await length(timeout)
        timeout.answered = True
        assert await length(timeout) == 65_536
        assert [await length(5.0), await length(None)] == [65_536] * 2

    asyncio.run(scenario())


def test_a_head_may_be_as_long_as_the_limit_and_no_longer() -> None:
    stream, timeout = DeadlineStream(Prattling(), httpcore), Timeout.until(Deadline(5))  # type: ignore[arg-type]
    timeout.received = MAX_HEAD_BYTES - 1
    assert stream.read(1, timeout)
    assert timeout.received == MAX_HEAD_BYTES
    with pytest.raises(UnreadableReplyError):
        stream.read(1, timeout)
