"""A service on loopback that costs next to nothing: the protocols of Cohere, Voyage AI and Pinecone, replies kept ready.

A process of its own, which prints its port.  The first part of a path names a lane, the second a protocol:
``/<lane>/cohere/v2/rerank``.  Each lane is a service of its own, with its behaviour (``POST /-/<lane>``) and its counts
(``GET /-/<lane>``).  A body seen before is told by its length and samples of it: neither parsed nor hashed again.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import socket
import struct
import sys
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from benchmarks.behaviour import LIMITS, Behaviour
from benchmarks.corpus import score

REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 429: "Too Many Requests", 503: "Service Unavailable"}
SAMPLES = 8_192  # bytes from one sample of a body to the next
ENDS = 600  # bytes of its head and tail that are looked at in full
LINGER = struct.pack("ii", 1, 0)  # closing resets the connection
KEPT = 40_000  # replies


def http(status: int, body: bytes, extra: str = "") -> bytes:
    head = (
        f"HTTP/1.1 {status} {REASONS[status]}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n{extra}\r\n"
    )
    return head.encode() + body


class Request(NamedTuple):
    """What a head says."""

    method: str
    lane: str
    protocol: str
    length: int


class Ready(NamedTuple):
    """A reply, and how many documents it is about."""

    documents: int
    reply: bytes


@dataclass(eq=False)
class Lane:
    """One service: what it does, and what it saw."""

    behaviour: Behaviour = field(default_factory=Behaviour)
    requests: int = 0
    answered: int = 0
    documents: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    connections: int = 0
    refused: int = 0

    def counts(self) -> dict[str, int]:
        return {name: value for name, value in asdict(self).items() if isinstance(value, int)}


def parsed(head: bytes) -> Request:
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ")
    _, lane, protocol, *_ = [*path.split("/"), "", ""]
    lengths = [line.split(":")[1] for line in lines if line.lower().startswith("content-length:")]
    return Request(method, lane, protocol, int(lengths[0]) if lengths else 0)


def ranked(protocol: str, body: bytes) -> Ready:
    """The reply to a request that is right: the documents by their scores, the best *top_n*."""
    asked: dict[str, Any] = json.loads(body)
    documents = [one["text"] if isinstance(one, dict) else one for one in asked["documents"]]
    scores = [score(asked["query"], text) for text in documents]
    top = asked.get("top_n") or asked.get("top_k") or len(scores)
    order = sorted(range(len(scores)), key=lambda index: -scores[index])[:top]
    name = "score" if protocol == "pinecone" else "relevance_score"
    results = [{"index": index, name: scores[index]} for index in order]
    if protocol == "pinecone" and asked.get("return_documents", True):
        results = [{**result, "document": {"text": documents[result["index"]]}} for result in results]
    return Ready(len(documents), http(200, json.dumps(_reply(protocol, asked, results)).encode()))


def _reply(protocol: str, asked: dict[str, Any], results: list[dict[str, Any]]) -> dict[str, Any]:
    if protocol == "cohere":
        units = -(-len(asked["documents"]) // 100)
        meta = {"api_version": {"version": "2"}, "billed_units": {"search_units": units}}
        return {"id": "00000000-0000-0000-0000-000000000000", "results": results, "meta": meta}
    if protocol == "voyage":
        return {"object": "list", "data": results, "model": asked["model"], "usage": {"total_tokens": 1}}
    return {"model": asked["model"], "data": results, "usage": {"rerank_units": 1}}


def error(protocol: str, status: int, message: str, extra: str = "") -> bytes:
    if protocol == "cohere":
        told: dict[str, Any] = {"id": "00000000-0000-0000-0000-000000000000", "message": message}
    elif protocol == "voyage":
        told = {"detail": message}
    else:
        code = {400: "INVALID_ARGUMENT", 429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE"}.get(status, "UNKNOWN")
        told = {"error": {"code": code, "message": message}, "status": status}
    return http(status, json.dumps(told).encode(), extra)


class Service:
    """All lanes, and the replies that are ready."""

    def __init__(self) -> None:
        self.lanes: dict[str, Lane] = {}
        self.heads: dict[bytes, Request] = {}
        self.ready: dict[tuple[object, ...], Ready] = {}

    def lane(self, name: str) -> Lane:
        return self.lanes.setdefault(name, Lane())

    def request(self, head: bytes) -> Request:
        found = self.heads.get(head)
        if found is None:
            if len(self.heads) >= KEPT:
                self.heads.clear()
            found = self.heads[head] = parsed(head)
        return found

    def answer(self, protocol: str, body: memoryview) -> Ready:
        key = (protocol, len(body), bytes(body[:ENDS]), bytes(body[-ENDS:]), bytes(body[::SAMPLES]))
        found = self.ready.get(key)
        if found is None:
            if len(self.ready) >= KEPT:
                self.ready.clear()
            found = self.ready[key] = ranked(protocol, bytes(body))
        return found

    def administrate(self, request: Request, body: memoryview) -> bytes:
        """Give the lane another behaviour and forget its counts, or tell them."""
        if request.method == "GET":
            return http(200, json.dumps(self.lane(request.protocol).counts()).encode())
        self.lanes[request.protocol] = Lane(Behaviour(**json.loads(bytes(body))))
        return http(200, b"{}")


class Connection(asyncio.BufferedProtocol):
    """One request at a time, read where it stays."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.buffer = bytearray(1 << 16)
        self.filled = self.head = self.whole = 0  # bytes
        self.request: Request | None = None
        self.known: set[str] = set()  # lanes that have counted this connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def get_buffer(self, sizehint: int) -> memoryview:
        return memoryview(self.buffer)[self.filled :]

    def buffer_updated(self, nbytes: int) -> None:
        self.filled += nbytes
        if self.request is None and not self._read_head():
            return
        if self.filled >= self.whole:
            assert self.request is not None
            body = memoryview(self.buffer)[self.head : self.whole]
            request, self.request, self.filled = self.request, None, 0
            self._serve(request, body)

    def _read_head(self) -> bool:
        end = self.buffer.find(b"\r\n\r\n", 0, self.filled)
        if end < 0:
            return False
        self.request = self.service.request(bytes(self.buffer[:end]))
        self.head, self.whole = end + 4, end + 4 + self.request.length
        if self.whole > len(self.buffer):
            read, self.buffer = self.buffer, bytearray(self.whole)
            self.buffer[: self.filled] = read[: self.filled]
        return True

    def _serve(self, request: Request, body: memoryview) -> None:
        if request.lane == "-":
            self.transport.write(self.service.administrate(request, body))
            return
        lane = self.service.lane(request.lane)
        fate = lane.behaviour.fate(lane.requests)
        lane.requests += 1
        if request.lane not in self.known:
            self.known.add(request.lane)
            lane.connections += 1
        if fate == "reset":
            self._reset()
        elif fate in ("429", "503"):
            extra = f"retry-after: {lane.behaviour.retry_after}\r\n" if fate == "429" else ""
            self.transport.write(error(request.protocol, int(fate), "the service has too much to do", extra))
        else:
            self._rank(lane, request, body, slow=fate == "slow")

    def _reset(self) -> None:
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
        self.transport.abort()

    def _rank(self, lane: Lane, request: Request, body: memoryview, *, slow: bool) -> None:
        documents, reply = self.service.answer(request.protocol, body)
        lane.documents += documents
        if lane.behaviour.limits and documents > LIMITS[request.protocol]:
            lane.refused += 1
            self.transport.write(error(request.protocol, 400, f"too many documents: {documents}"))
            return
        seconds = lane.behaviour.slow if slow else lane.behaviour.seconds(documents)
        lane.in_flight += 1
        lane.most_in_flight = max(lane.most_in_flight, lane.in_flight)
        if seconds:
            asyncio.get_running_loop().call_later(seconds, self._reply, lane, reply)
        else:
            self._reply(lane, reply)

    def _reply(self, lane: Lane, reply: bytes) -> None:
        lane.in_flight -= 1
        lane.answered += 1
        if not self.transport.is_closing():
            self.transport.write(reply)


async def serve() -> None:
    service = Service()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(service), "127.0.0.1", 0, backlog=1_000)
    print(server.sockets[0].getsockname()[1], flush=True)
    gc.disable()  # a pause here would be taken for a contestant's
    await server.serve_forever()


def main() -> None:
    if sys.argv[1:] and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(sys.argv[1])})
    asyncio.run(serve())
