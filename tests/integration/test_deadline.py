"""One deadline over everything: connecting, sending, waiting, reading, sleeping, on real sockets."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from helpers.server import raw_server
from helpers.services import COHERE, KENDRA, Service
from helpers.stopwatch import Stopwatch
from helpers.ways import run
from rerankkit import APIConnectionError, Client, DeadlineExceededError, Retry

LATEST = 0.25  # seconds after its deadline that a call may take to return

Speech = Callable[[socket.socket], None]


def says_nothing(_: socket.socket) -> None:
    time.sleep(5)


def test_the_deadline_covers_all_batches(colour: str) -> None:
    with raw_server(says_nothing) as url, Client(COHERE.make(url), concurrency=2) as client:
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
    replies = [says_nothing]

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

    with raw_server(says_nothing) as url, Client(KENDRA.make(url), transport=transport) as client:
        with ends_in_time(0.1), pytest.raises(TimeoutError) as caught:
            asyncio.run(scenario(client))
    assert not isinstance(caught.value, DeadlineExceededError)


@contextmanager
def ends_in_time(deadline: float) -> Iterator[None]:
    stopwatch = Stopwatch()
    yield
    assert stopwatch.own_seconds() < deadline + LATEST
