"""Concurrent calls of LangChain's compressors: how long 64 of half a second take, and how long the event loop stood still.

Run: ``python tests/benchmarks/langchain_concurrency.py [--calls N] [--rounds N]``.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from pathlib import Path

from langchain_core.documents import Document

sys.path.insert(0, str(Path(__file__).parents[1]))

from langchain_rerankkit import CohereRerank

REPLY = b'{"id":"r","results":[{"index":1,"relevance_score":0.9},{"index":0,"relevance_score":0.1}]}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(REPLY)
DOCUMENTS = [Document("a bus"), Document("a ferry")]
BEAT = 0.005  # seconds


async def served(seconds: float) -> asyncio.Server:
    """A server in the same loop, which takes *seconds* to answer."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.split(b":")[1]))
            await asyncio.sleep(seconds)
            writer.write(HEAD + REPLY)
            await writer.drain()

    async def quietly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    return await asyncio.start_server(quietly, "127.0.0.1", 0, backlog=1_000)


async def beats(gaps: list[float]) -> None:
    """How much later than it should each turn of the loop came."""
    while True:
        started = time.perf_counter()
        await asyncio.sleep(BEAT)
        gaps.append(time.perf_counter() - started - BEAT)


async def one_round(calls: int, seconds: float) -> tuple[float, float, float]:
    """Seconds for all calls, the loop's longest standstill, and seconds of a call after six that timed out."""
    server = await served(seconds)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    gaps: list[float] = []
    heart = asyncio.create_task(beats(gaps))
    async with CohereRerank(api_key="k" * 20, base_url=url) as compressor:
        await compressor.acompress_documents(DOCUMENTS, "q")  # imports and the first connection
        gaps.clear()
        started = time.perf_counter()
        await asyncio.gather(*(compressor.acompress_documents(DOCUMENTS, "q") for _ in range(calls)))
        took = time.perf_counter() - started
        heart.cancel()
        timed = (asyncio.wait_for(compressor.acompress_documents(DOCUMENTS, "q"), seconds / 5) for _ in range(6))
        await asyncio.gather(*timed, return_exceptions=True)
        started = time.perf_counter()
        await compressor.acompress_documents(DOCUMENTS, "q")
        seventh = time.perf_counter() - started
    server.close()
    return took, max(gaps), seventh


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.5, help="that the service takes")
    options = parser.parse_args()
    rounds = [asyncio.run(one_round(options.calls, options.seconds)) for _ in range(options.rounds)]
    print("| figure | median | worst |\n|---|---:|---:|")
    names = (f"{options.calls} calls of {options.seconds:g} s, s", "the loop's longest standstill, ms", "a 7th call after 6, s")
    for name, found, factor in zip(names, zip(*rounds, strict=True), (1, 1_000, 1), strict=True):
        print(f"| {name} | {factor * statistics.median(found):.3g} | {factor * max(found):.3g} |")


if __name__ == "__main__":
    main()
