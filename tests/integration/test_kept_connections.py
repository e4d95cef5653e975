"""Which connections serve another request: no call gets an answer that was not meant for it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from helpers.server import Reply, raw_server, read_request, recorder
from helpers.services import COHERE
from helpers.ways import one_loop, run
from integration.reliability.faults import Talk
from integration.reliability.tls_server import Certificates, tls_server
from rerankkit import Client, RequestTooLargeError, Retry, _h11_connection, _library
from rerankkit._deadline_stream import HEAD_CHUNK

RIGHT = b'{"id":"r","results":[{"index":0,"relevance_score":0.5}],"meta":{}}'
WRONG = RIGHT.replace(b"0.5", b"0.9")


def framed(body: bytes, status: bytes = b"200 OK", head: bytes = b"") -> bytes:
    return b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n%s" % (status, head, len(body), body)


FILLED = framed(RIGHT, head=b"X: %s\r\n" % (b"x" * (HEAD_CHUNK - len(framed(RIGHT)) - 5)))
"""Takes up the whole of the first read."""

UNASKED: dict[str, Sequence[bytes]] = {
    "together with it": [framed(RIGHT) + framed(WRONG)],
    "the start of one": [framed(RIGHT) + framed(WRONG)[:20]],
    "in a piece of its own": [framed(RIGHT), framed(WRONG)],
    "where the first read ends": [FILLED + framed(WRONG)],
}


@pytest.fixture
def transport(blocking_transport: str) -> str:
    """aiohttp has ways of its own, and tests."""
    return blocking_transport


@contextmanager
def corked(connection: socket.socket) -> Iterator[None]:
    """What is sent meanwhile arrives together."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
    yield
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)


def scores(
    url: str, colour: str, transport: Any, between: Callable[[], None] = lambda: None, **options: Any
) -> list[float | None]:
    """What two calls, one after the other, are told."""
    provider = COHERE.make(url, **options)
    with one_loop(), Client(provider, transport=transport, retry=Retry(attempts=1), timeout=10) as client:
        first = run(colour, client, "rerank", "q", ["a"])
        between()
        second = run(colour, client, "rerank", "q", ["a"])
        return [answer.results[0].relevance_score for answer in (first, second)]


def unasked(parts: Sequence[bytes]) -> Callable[[socket.socket], None]:
    def speak(connection: socket.socket) -> None:
        with corked(connection):
            for part in parts:
                connection.sendall(part)
        read_request(connection)
        connection.sendall(framed(WRONG))

    return speak


@pytest.mark.parametrize("parts", UNASKED.values(), ids=UNASKED)
def test_an_answer_that_nobody_asked_for_is_not_the_next_calls(colour: str, transport: Any, parts: Sequence[bytes]) -> None:
    with raw_server(unasked(parts)) as url:
        assert scores(url, colour, transport) == [0.5, 0.5]


@pytest.mark.parametrize("parts", UNASKED.values(), ids=UNASKED)
def test_nor_is_it_where_it_is_encrypted(
    colour: str, transport: Any, parts: Sequence[bytes], certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records that came together leave the socket together."""

    def fault(talk: Talk) -> None:
        talk.read()
        unasked(parts)(talk.connection)

    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca_file))
    monkeypatch.setattr(_library, "CONTEXTS", {})
    with tls_server(certificates.good, lambda _: Reply()) as server:
        server.fault = fault
        assert scores(server.url, colour, transport) == [0.5, 0.5]
        assert server.connections == 2


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


def test_nor_is_it_by_way_of_a_proxy(colour: str, transport: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with raw_server(unasked(UNASKED["together with it"])) as proxy:
        monkeypatch.setenv("http_proxy", proxy)
        assert scores("http://service.test", colour, transport, allow_http=True) == [0.5, 0.5]


def test_encrypted_connections_are_kept(
    colour: str, transport: Any, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca_file))
    monkeypatch.setattr(_library, "CONTEXTS", {})
    with tls_server(certificates.good, lambda _: Reply(RIGHT)) as server:
        assert scores(server.url, colour, transport) == [0.5, 0.5]
        assert server.connections == 1


@pytest.mark.parametrize(("seconds", "connections"), [(1, 1), (_h11_connection.KEPT_SECONDS + 1, 2)])
def test_a_connection_is_kept_for_a_while(
    colour: str, transport: Any, seconds: float, connections: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock:
        now = 100.0

        def monotonic(self) -> float:
            return self.now

    def wait() -> None:
        clock.now += seconds

    clock = Clock()
    monkeypatch.setattr(_h11_connection, "time", clock)
    with recorder(lambda _: Reply(RIGHT)) as server:
        assert scores(server.url, colour, transport, wait) == [0.5, 0.5]
        assert server.connections == connections


@pytest.mark.parametrize(
    ("colour", "reads_on"),
    [("sync", False), ("sync", True), ("async", True)],  # asyncio forgets what has arrived once it cannot write
)
def test_an_answer_before_the_whole_request_is_the_answer(colour: str, transport: Any, reads_on: bool) -> None:
    """A service that refuses a long request need not read it first."""
    connections: list[socket.socket] = []

    def call(url: str) -> None:
        with one_loop(), Client(COHERE.make(url), transport=transport, timeout=20) as client:
            run(colour, client, "rerank", "q", ["x" * 20_000_000])

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        connections.append(connection)
        with connection:
            connection.recv(1_000)
            connection.sendall(framed(b'{"message": "too large"}', b"413 Too Large"))
            time.sleep(0.05)
            while reads_on and connection.recv(1_000_000):
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        with pytest.raises(RequestTooLargeError, match="too large"):
            call(f"http://127.0.0.1:{listener.getsockname()[1]}")
        thread.join()
    assert len(connections) == 1
