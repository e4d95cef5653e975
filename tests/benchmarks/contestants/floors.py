"""What the wire allows: the same bytes sent again and again, and nothing made of the reply."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from typing import Any

from benchmarks.contestants.contestant import KEY, TOP_N, Contestant

PATH = "/cohere/v2/rerank"
HEADERS = {"authorization": f"Bearer {KEY}", "content-type": "application/json", "accept": "application/json"}


class Floor(Contestant):
    """Bodies are made once."""

    kind = "floor"

    def __init__(self, url: str) -> None:
        self.url = url + PATH
        self.bodies: dict[tuple[str, int], bytes] = {}
        self.kept: list[Any] = []  # so that no other list gets the id of one

    def body(self, query: str, documents: list[str]) -> bytes:
        found = self.bodies.get((query, id(documents)))
        if found is None:
            asked = {"model": "rerank-v3.5", "query": query, "documents": documents, "top_n": TOP_N}
            found = json.dumps(asked, ensure_ascii=False, separators=(",", ":")).encode()
            self.bodies[query, id(documents)] = found
            self.kept.append(documents)
        return found

    def rerank(self, query: str, documents: Any) -> bytes:
        return self.send(self.body(query, documents))

    async def arerank(self, query: str, documents: Any) -> bytes:
        return await self.asend(self.body(query, documents))

    def send(self, body: bytes) -> bytes:
        raise NotImplementedError

    async def asend(self, body: bytes) -> bytes:
        raise NotImplementedError

    def pairs(self, answer: bytes) -> list[tuple[int, float]]:
        return [(result["index"], result["relevance_score"]) for result in json.loads(answer)["results"]]


class RawSocket(Floor):
    """A connection for each thread, a pool of them for the event loop."""

    name = "raw socket"
    imports = "import socket"

    def __init__(self, url: str) -> None:
        super().__init__(url)
        host, path = self.url.removeprefix("http://").split("/", 1)
        self.host, port = host.split(":")
        self.port = int(port)
        lines = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
        self.head = f"POST /{path} HTTP/1.1\r\nhost: {host}\r\n{lines}content-length: "
        self.of_thread = threading.local()
        self.idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    def request(self, body: bytes) -> list[bytes]:
        return [f"{self.head}{len(body)}\r\n\r\n".encode(), body]

    def connection(self) -> socket.socket:
        if not hasattr(self.of_thread, "socket"):
            self.of_thread.socket = socket.create_connection((self.host, self.port))
            self.of_thread.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.of_thread.socket

    def send(self, body: bytes) -> bytes:
        connection = self.connection()
        head, body = self.request(body)
        sent = connection.sendmsg([head, body])
        if sent < len(head) + len(body):
            connection.sendall(memoryview(body)[sent - len(head) :])
        received = connection.recv(1 << 16)
        head, _, rest = received.partition(b"\r\n\r\n")
        length = length_of(head)
        while len(rest) < length:
            rest += connection.recv(1 << 20)
        return rest

    async def asend(self, body: bytes) -> bytes:
        reader, writer = self.idle.pop() if self.idle else await asyncio.open_connection(self.host, self.port, limit=1 << 22)
        writer.writelines(self.request(body))
        head = await reader.readuntil(b"\r\n\r\n")
        received = await reader.readexactly(length_of(head))
        self.idle.append((reader, writer))
        return received

    async def aclose(self) -> None:
        while self.idle:
            self.idle.pop()[1].close()


def length_of(head: bytes) -> int:
    if not head.startswith(b"HTTP/1.1 200"):
        raise ConnectionError(head.decode("latin-1"))
    start = head.index(b"content-length: ") + len("content-length: ")
    return int(head[start:].split(b"\r", 1)[0])


class Httpx(Floor):
    """``Client.post`` with the ready body, as most SDKs use it."""

    name = "httpx"
    effort = 0
    packages = ("httpx",)
    imports = "import httpx"
    library = "httpx"
    most: int | None = 100

    def __init__(self, url: str) -> None:
        super().__init__(url)
        library: Any = __import__(self.library)
        limits = library.Limits(max_connections=self.most, max_keepalive_connections=self.most)
        limits = limits if self.most != 100 else library.Limits(max_connections=100, max_keepalive_connections=20)
        self.client = library.Client(headers=HEADERS, timeout=60)
        self.aclient = library.AsyncClient(headers=HEADERS, timeout=60, limits=limits)

    def send(self, body: bytes) -> bytes:
        return self.client.post(self.url, content=body).raise_for_status().content

    async def asend(self, body: bytes) -> bytes:
        return (await self.aclient.post(self.url, content=body)).raise_for_status().content

    async def aclose(self) -> None:
        self.client.close()
        await self.aclient.aclose()


class HttpxUnlimited(Httpx):
    """Its limits raised, which makes its pool slower and slower."""

    name = "httpx, no limits"
    most = None
    effort = 2
    scenarios = frozenset({"burst"})


class Httpx2(Httpx):
    name = "httpx2"
    effort = 1
    packages = ("httpx2",)
    imports = "import httpx2"
    library = "httpx2"


class Aiohttp(Floor):
    name = "aiohttp"
    packages = ("aiohttp",)
    imports = "import aiohttp"
    blocking = False

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.session: Any = None

    async def asend(self, body: bytes) -> bytes:
        import aiohttp

        if self.session is None:  # can be made while a loop runs, and not before
            self.session = aiohttp.ClientSession(headers=HEADERS, connector=aiohttp.TCPConnector(limit=1_000))
        async with self.session.post(self.url, data=body) as response:
            response.raise_for_status()
            return await response.read()

    async def aclose(self) -> None:
        if self.session is not None:
            await self.session.close()


CONTESTANTS = [RawSocket, Httpx, HttpxUnlimited, Httpx2, Aiohttp]
