"""What aiohttp's own pool and parser would let through, and what the transport is for."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from helpers.server import Received, Reply, raw_server, read_request, recorder
from helpers.services import COHERE, KEY, PINECONE
from rerankkit import APIConnectionError, Client, Cohere, InvalidRequestError, RequestTooLargeError, Retry, _library

pytest.importorskip("aiohttp", reason="this environment tests the other transports")

RIGHT = b'{"id":"r","results":[{"index":0,"relevance_score":0.5}],"meta":{}}'
WRONG = RIGHT.replace(b"0.5", b"0.9")


def framed(body: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


async def score(client: Client) -> float | None:
    return (await client.arerank("q", ["a"])).results[0].relevance_score


def scores(speak: Callable[[socket.socket], None], pause: float = 0.0) -> list[float | None]:
    """What two calls, one after the other, are told by a server that speaks so on each connection."""

    async def scenario(url: str) -> list[float | None]:
        async with Client(COHERE.make(url), transport="aiohttp", retry=Retry(attempts=1)) as client:
            first = await score(client)
            time.sleep(pause)  # noqa: ASYNC251 -- the loop is to notice nothing
            return [first, await score(client)]

    with raw_server(speak) as url:
        return asyncio.run(scenario(url))


def test_an_answer_that_nobody_asked_for_is_not_the_next_calls() -> None:
    def speak(connection: socket.socket) -> None:
        connection.sendall(framed(RIGHT) + framed(WRONG))
        read_request(connection)

    assert scores(speak) == [0.5, 0.5]


@pytest.mark.parametrize("part", [framed(WRONG), framed(WRONG)[:20]], ids=["a whole one", "the start of one"])
def test_an_answer_that_comes_while_nobody_looks_is_not_the_next_calls(part: bytes) -> None:
    def speak(connection: socket.socket) -> None:
        connection.sendall(framed(RIGHT))
        time.sleep(0.05)
        connection.sendall(part)
        read_request(connection)
        connection.sendall(framed(WRONG))

    assert scores(speak, pause=0.2) == [0.5, 0.5]


def test_an_answer_before_the_whole_request_ends_its_sending() -> None:
    """A service that refuses a long request need not read it to its end."""
    held = threading.Event()

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1_000)
            connection.sendall(framed(b'{"message": "too large"}', b"413 Too Large"))
            held.wait(20)

    async def scenario(url: str) -> None:
        async with Client(COHERE.make(url), transport="aiohttp", timeout=15) as client:
            await client.arerank("q", ["x" * 20_000_000])

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            with pytest.raises(RequestTooLargeError):
                asyncio.run(scenario(f"http://127.0.0.1:{listener.getsockname()[1]}"))
        finally:
            held.set()
            thread.join()


def test_closing_ends_who_reads_an_answer() -> None:
    begun = threading.Event()

    def speak(connection: socket.socket) -> None:
        connection.sendall(framed(RIGHT)[:-10])
        begun.set()
        connection.recv(1)

    async def scenario(url: str) -> None:
        client = Client(COHERE.make(url), transport="aiohttp", retry=Retry(attempts=1))
        call = asyncio.create_task(client.arerank("q", ["a"]))
        assert await asyncio.to_thread(begun.wait, 10)
        await asyncio.sleep(0.05)
        await client.aclose()
        with pytest.raises(APIConnectionError, match="no complete answer"):
            await asyncio.wait_for(call, 10)

    with raw_server(speak) as url:
        asyncio.run(scenario(url))


@pytest.mark.parametrize("transport", ["httpx2", "aiohttp"])
def test_two_hundred_calls_of_one_loop_are_with_the_service_at_the_same_time_and_keep_their_connections(transport: Any) -> None:
    """Each is answered once all have arrived: one after the other, none ever would be."""
    pytest.importorskip(transport, reason="this environment tests the other transports")
    all_there = threading.Barrier(200, timeout=30)

    def together(_: Received) -> Reply:
        all_there.wait()
        return Reply(RIGHT)

    async def twice(url: str) -> None:
        async with Client(COHERE.make(url), transport=transport) as client:
            for _ in range(2):
                assert await asyncio.gather(*(score(client) for _ in range(200))) == [0.5] * 200

    with recorder(together) as server:
        asyncio.run(twice(server.url))
        assert server.connections == 200


def test_blocking_calls_of_the_same_client_go_over_the_other_library() -> None:
    with recorder(lambda _: Reply(RIGHT)) as server:
        with Client(COHERE.make(server.url), transport="aiohttp") as client:
            assert client.rerank("q", ["a"]).results[0].relevance_score == 0.5
        (request,) = server.requests
    assert request.headers["user-agent"].startswith("rerankkit/")


def test_a_request_is_the_same_over_each_transport() -> None:
    """Every header that is sent, and no other."""

    async def scenario(url: str) -> None:
        for transport in ("aiohttp", _library.default_transport()):
            async with Client(PINECONE.make(url), transport=transport) as client:
                await client.arerank("q", ["a"])

    with recorder(lambda _: Reply(PINECONE.answer([(0, 0.5)]))) as server:
        asyncio.run(scenario(server.url))
    first, second = server.requests
    assert (first.method, first.path, first.body) == (second.method, second.path, second.body)
    assert first.headers == second.headers


def test_a_socks_proxy_is_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5://user:sekret@127.0.0.1:9")
    with Client(Cohere(api_key=KEY), transport="aiohttp") as client:
        with pytest.raises(InvalidRequestError, match="socks5:// with another transport") as caught:
            asyncio.run(client.arerank("q", ["a"]))
    assert "sekret" not in str(caught.value)


def test_without_the_library_it_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(_library.importlib, "import_module", missing)
    with pytest.raises(InvalidRequestError, match=r"pip install 'rerankkit\[aiohttp\]'"):
        Client(COHERE.make("http://127.0.0.1:9"), transport="aiohttp")
