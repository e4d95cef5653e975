"""One deadline over everything: connecting, sending, waiting, reading, sleeping, on real sockets."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import langchain_core.documents
import llama_index.core.schema
import pytest

from helpers.server import raw_server
from helpers.services import COHERE, KENDRA, Service
from helpers.ways import WAYS, Way, run
from rerankkit import APIConnectionError, Client, DeadlineExceededError, Retry

LATEST = 0.25  # seconds after its deadline that a call may take to return

FRAMEWORKS = (langchain_core.documents, llama_index.core.schema)  # imported before anything is timed

Speech = Callable[[socket.socket], None]


def drip(head: bytes, drop: bytes) -> Speech:
    def speak(connection: socket.socket) -> None:
        connection.sendall(head)
        for _ in range(200):
            connection.sendall(drop)
            time.sleep(0.05)

    return speak


SLOW: dict[str, Speech] = {
    "says nothing": lambda _: time.sleep(5),
    "drips its status line": drip(b"HTTP/1.1 ", b"2"),
    "drips headers": drip(b"HTTP/1.1 200 OK\r\n", b"X-Drip: 1\r\n"),
    "drips its body": drip(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b" "),
    "drips chunks": drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "drips an error": drip(b"HTTP/1.1 500 Oops\r\nContent-Length: 9999\r\n\r\n", b" "),
    "stops in the middle": lambda connection: (
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"),
        time.sleep(5),
    ),
}


@pytest.mark.parametrize("speak", SLOW.values(), ids=SLOW)
def test_a_slow_server_cannot_outlast_the_deadline(service: Service, colour: str, transport: Any, speak: Speech) -> None:
    with raw_server(speak) as url, Client(service.make(url), transport=transport) as client:
        with ends_in_time(0.3), pytest.raises(DeadlineExceededError, match=f"{service.name} did not answer within 0.3 s"):
            run(colour, client, "rerank", "q", ["a"], timeout=0.3)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_the_deadline_holds_on_every_way(service: Service, way: Way) -> None:
    with raw_server(SLOW["drips headers"]) as url:
        client = Client(service.make(url))
        with client, ends_in_time(0.3), pytest.raises(DeadlineExceededError):
            way(_Bounded(client, 0.3), "q", ["a"])


class _Bounded:
    """A reranker with less time than the adapters allow."""

    def __init__(self, client: Client, timeout: float) -> None:
        self._client = client
        self._timeout = timeout

    def rerank(self, query: str, documents: Any, *, top_n: int | None = None, timeout: float | None = None) -> Any:
        return self._client.rerank(query, documents, top_n=top_n, timeout=self._timeout)

    async def arerank(self, query: str, documents: Any, *, top_n: int | None = None, timeout: float | None = None) -> Any:
        return await self._client.arerank(query, documents, top_n=top_n, timeout=self._timeout)


def test_a_server_that_reads_slowly_cannot_outlast_the_deadline(colour: str, transport: Any) -> None:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    with listener:
        host, port = listener.getsockname()
        with Client(COHERE.make(f"http://{host}:{port}"), transport=transport) as client:
            with ends_in_time(0.4), pytest.raises(DeadlineExceededError):
                run(colour, client, "rerank", "q", ["x" * 1_000_000] * 20, timeout=0.4)


def test_a_server_that_does_not_accept_cannot_outlast_the_deadline(colour: str, transport: Any) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        waiting = [socket.socket() for _ in range(8)]
        for held in waiting:  # fills the backlog, so that further connections wait
            held.setblocking(False)
            held.connect_ex(address)
        try:
            with Client(COHERE.make(f"http://127.0.0.1:{address[1]}"), transport=transport) as client:
                with ends_in_time(0.4), pytest.raises(DeadlineExceededError):
                    run(colour, client, "rerank", "q", ["a"], timeout=0.4)
        finally:
            for held in waiting:
                held.close()


def test_the_deadline_covers_all_batches(colour: str) -> None:
    with raw_server(SLOW["says nothing"]) as url, Client(COHERE.make(url), concurrency=2) as client:
        with ends_in_time(0.4), pytest.raises(DeadlineExceededError):
            run(colour, client, "rerank", "q", ["a"] * 5_000, timeout=0.4)


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


BROKEN: dict[str, Speech] = {
    "resets": reset,
    "closes without a word": lambda connection: connection.close(),
    "closes in the middle": lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{"),
    "speaks no HTTP": lambda connection: connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "breaks its chunks": lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
}


@pytest.mark.parametrize("speak", BROKEN.values(), ids=BROKEN)
def test_a_broken_exchange_is_tried_again_and_never_a_short_result(
    service: Service, colour: str, transport: Any, speak: Speech
) -> None:
    seen: list[int] = []

    def count(connection: socket.socket) -> None:
        seen.append(1)
        speak(connection)

    with raw_server(count) as url, Client(service.make(url), retry=Retry(base_delay=0.01), transport=transport) as client:
        with pytest.raises(APIConnectionError, match="no complete answer from 127.0.0.1"):
            run(colour, client, "rerank", "q", ["a"])
    assert len(seen) == 3


def test_cancelling_is_not_swallowed_and_leaves_the_client_usable(service: Service, transport: Any) -> None:
    """The first request hangs; once it is cancelled, the next goes through."""
    replies = [SLOW["says nothing"]]

    def speak(connection: socket.socket) -> None:
        if replies:
            replies.pop()(connection)
            return
        body = str(service.answer([(0, 0.5)])).replace("'", '"').encode()
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    async def scenario(client: Client) -> int:
        task = asyncio.create_task(client.arerank("q", ["a"]))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return len(await client.arerank("q", ["a"]))

    with raw_server(speak) as url, Client(service.make(url), transport=transport) as client:
        assert asyncio.run(scenario(client)) == 1


def test_an_outer_timeout_is_the_callers_not_ours(transport: Any) -> None:
    async def scenario(client: Client) -> None:
        async with asyncio.timeout(0.1):
            await client.arerank("q", ["a"])

    with raw_server(SLOW["says nothing"]) as url, Client(KENDRA.make(url), transport=transport) as client:
        with ends_in_time(0.1), pytest.raises(TimeoutError) as caught:
            asyncio.run(scenario(client))
    assert not isinstance(caught.value, DeadlineExceededError)


@contextmanager
def ends_in_time(deadline: float) -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < deadline + LATEST
