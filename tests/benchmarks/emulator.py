"""Requests a second that one emulator process serves, side by side with a bare Starlette echo on the same server.

``python tests/benchmarks/emulator.py``: ten documents a request, the fastest scorer, a client in a process of its own that
speaks raw HTTP over kept connections; rounds alternate, and each figure is the median of its rounds.
"""

from __future__ import annotations

import json
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rerankkit.emulator import Emulator, Settings
from rerankkit.emulator.server import listen

ROUNDS = 7
SECONDS = 2.0
CONNECTIONS = 8
TEXT = "The ferry leaves from the old harbour at nine and at five, every day but the first of January. "
DOCUMENTS = [TEXT + str(number) for number in range(10)]
BODY = json.dumps({"model": "rerank-v3.5", "query": "when does the ferry leave", "documents": DOCUMENTS})


async def echo(request: Request) -> Response:
    return Response(await request.body(), media_type="application/json")


def serve_echo() -> None:
    """Starlette and uvicorn, with nothing of ours but the socket."""
    sock = listen()
    print(f"http://127.0.0.1:{sock.getsockname()[1]}", flush=True)
    app = Starlette(routes=[Route("/{path:path}", echo, methods=["POST"])])
    config = uvicorn.Config(app, http="httptools", ws="none", lifespan="off", log_level="error")
    uvicorn.Server(config).run(sockets=[sock])


@contextmanager
def bare_starlette() -> Iterator[str]:
    """The URL of an echo in a process of its own."""
    process = subprocess.Popen([sys.executable, __file__, "echo"], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    yield process.stdout.readline().strip()
    process.terminate()
    process.communicate()


def load(url: str) -> float:
    """Requests a second, over `SECONDS`."""
    host, _, port = url.removeprefix("http://").partition(":")
    path = "/cohere/v2/rerank"
    request = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer k\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(BODY)}\r\n\r\n{BODY}"
    ).encode()
    until = time.perf_counter() + SECONDS
    counts: list[int] = []

    def speak() -> None:
        count = 0
        with socket.create_connection((host, int(port))) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while time.perf_counter() < until:
                connection.sendall(request)
                received = connection.recv(65_536)
                while not _whole(received):
                    received += connection.recv(65_536)
                assert received.startswith(b"HTTP/1.1 200"), received[:300]
                count += 1
        counts.append(count)

    threads = [threading.Thread(target=speak) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / SECONDS


def _whole(received: bytes) -> bool:
    head, end, body = received.partition(b"\r\n\r\n")
    if not end:
        return False
    length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    return len(body) >= length


def started_in() -> float:
    """Seconds until an emulator process takes calls."""
    began = time.perf_counter()
    with Emulator():
        return time.perf_counter() - began


def main() -> None:
    starts = [started_in() for _ in range(ROUNDS)]
    with Emulator(Settings(scorer="overlap")) as emulator, Emulator() as ranking, bare_starlette() as bare:
        urls = {"bare Starlette echo": bare, "emulator, overlap": emulator.url, "emulator, bm25": ranking.url}
        for url in urls.values():
            load(url)
        rounds = {name: [] for name in urls}
        for _ in range(ROUNDS):
            for name, url in urls.items():
                rounds[name].append(load(url))
    floor = statistics.median(rounds["bare Starlette echo"])
    print(f"start: {statistics.median(starts):.2f} s, median of {ROUNDS}")
    print(f"| server | requests/s, 10 documents each (median of {ROUNDS}) | ratio |\n|---|---:|---:|")
    for name, found in rounds.items():
        print(f"| {name} | {statistics.median(found):,.0f} | {statistics.median(found) / floor:.2f} |")


if __name__ == "__main__":
    serve_echo() if sys.argv[1:] == ["echo"] else main()
