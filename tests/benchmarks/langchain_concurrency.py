"""Concurrent calls of LangChain's compressors: how long 64 of half a second take, and how long the event loop stood still.

Run: ``python tests/benchmarks/langchain_concurrency.py [--calls N] [--rounds N]``.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import multiprocessing
import statistics
import sys
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from langchain_core.documents import Document

sys.path.insert(0, str(Path(__file__).parents[1]))

from langchain_rerankkit import CohereRerank

REPLY = b'{"id":"r","results":[{"index":1,"relevance_score":0.9},{"index":0,"relevance_score":0.1}]}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(REPLY)
DOCUMENTS = [Document("a bus"), Document("a ferry")]
BEAT = 0.005  # seconds


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float) -> None:
    """Answer each request of a connection after *seconds*."""
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.split(b":")[1]))
            await asyncio.sleep(seconds)
            writer.write(HEAD + REPLY)
            await writer.drain()
    writer.close()


def server_process(seconds: float, told: Connection) -> None:
    """A server in a process of its own, so that the figures are the client's."""

    async def main() -> None:
        server = await asyncio.start_server(lambda reader, writer: serve(reader, writer, seconds), "127.0.0.1", 0, backlog=999)
        told.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


async def beats(gaps: list[tuple[float, float]]) -> None:
    """How long each turn of the loop took, by the clock and by the processor."""
    while True:
        started, computed = time.perf_counter(), time.process_time()
        await asyncio.sleep(BEAT)
        gaps.append((time.perf_counter() - started - BEAT, time.process_time() - computed))


async def one_round(calls: int, seconds: float, url: str) -> tuple[float, float, float, float]:
    """Seconds for all calls, the loop's longest standstill in seconds and in computing, a call's after six that timed out."""
    gaps: list[tuple[float, float]] = []
    async with CohereRerank(api_key="k" * 20, base_url=url) as compressor:
        await compressor.acompress_documents(DOCUMENTS, "q")  # imports and the first connection
        heart = asyncio.create_task(beats(gaps))
        started = time.perf_counter()
        await asyncio.gather(*(compressor.acompress_documents(DOCUMENTS, "q") for _ in range(calls)))
        took = time.perf_counter() - started
        heart.cancel()
        timed = (asyncio.wait_for(compressor.acompress_documents(DOCUMENTS, "q"), seconds / 5) for _ in range(6))
        await asyncio.gather(*timed, return_exceptions=True)
        started = time.perf_counter()
        await compressor.acompress_documents(DOCUMENTS, "q")
        seventh = time.perf_counter() - started
    stood, computed = (max(column) for column in zip(*gaps, strict=True))
    return took, stood, computed, seventh


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.5, help="that the service takes")
    options = parser.parse_args()
    gc.collect()
    gc.freeze()  # or a full collection walks over all that LangChain has loaded, for some 70 ms
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=server_process, args=(options.seconds, theirs), daemon=True)
    process.start()
    url = f"http://127.0.0.1:{ours.recv()}"
    rounds = [asyncio.run(one_round(options.calls, options.seconds, url)) for _ in range(options.rounds)]
    process.terminate()
    print("| figure | best | median | worst |\n|---|---:|---:|---:|")
    standstill = "the loop's longest standstill, ms"
    names = (
        f"{options.calls} calls of {options.seconds:g} s, s",
        standstill,
        f"{standstill} of computing",
        "a 7th call after 6, s",
    )
    for name, found, factor in zip(names, zip(*rounds, strict=True), (1, 1_000, 1_000, 1), strict=True):
        print(f"| {name} | {factor * min(found):.3g} | {factor * statistics.median(found):.3g} | {factor * max(found):.3g} |")


if __name__ == "__main__":
    main()
