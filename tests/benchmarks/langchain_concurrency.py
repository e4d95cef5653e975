"""Concurrent calls of LangChain's compressors: how long 64 of half a second take, and how long the event loop stood still.

Run: ``python tests/benchmarks/langchain_concurrency.py [--calls N] [--rounds N] [--freeze]``.  Each round opens its
connections anew.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import multiprocessing
import sys
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from langchain_core.documents import Document

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.standstill import Standstill, rows, watched
from langchain_rerankkit import CohereRerank

REPLY = b'{"id":"r","results":[{"index":1,"relevance_score":0.9},{"index":0,"relevance_score":0.1}]}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(REPLY)
DOCUMENTS = [Document("a bus"), Document("a ferry")]


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


async def first_call(compressor: CohereRerank) -> Standstill:
    """The loop's standstill at the first call of the process."""
    async with watched() as found:
        await compressor.acompress_documents(DOCUMENTS, "q")
    return found


async def one_round(calls: int, seconds: float, url: str) -> tuple[float, float, Standstill]:
    """Seconds for all calls, seconds for a call after six that timed out, and the loop's standstill during all calls."""
    async with CohereRerank(api_key="k" * 20, base_url=url) as compressor:
        async with watched() as found:
            started = time.perf_counter()
            await asyncio.gather(*(compressor.acompress_documents(DOCUMENTS, "q") for _ in range(calls)))
            took = time.perf_counter() - started
        timed = (asyncio.wait_for(compressor.acompress_documents(DOCUMENTS, "q"), seconds / 5) for _ in range(6))
        await asyncio.gather(*timed, return_exceptions=True)
        started = time.perf_counter()
        await compressor.acompress_documents(DOCUMENTS, "q")
    return took, time.perf_counter() - started, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.5, help="that the service takes")
    parser.add_argument("--freeze", action="store_true", help="keep what is imported from the garbage collector")
    options = parser.parse_args()
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=server_process, args=(options.seconds, theirs), daemon=True)
    process.start()
    url = f"http://127.0.0.1:{ours.recv()}"
    with CohereRerank(api_key="k" * 20, base_url=url) as compressor:
        if options.freeze:
            gc.collect()
            gc.freeze()
        first = asyncio.run(first_call(compressor))
    rounds = [asyncio.run(one_round(options.calls, options.seconds, url)) for _ in range(options.rounds)]
    process.terminate()
    took, seventh, standstills = zip(*rounds, strict=True)
    print("| figure | |\n|---|---:|")
    print(f"| {options.calls} calls of {options.seconds:g} s, s: best, worst | {min(took):.3f}, {max(took):.3f} |")
    print(f"| a 7th call after 6 that timed out, s: best, worst | {min(seventh):.3f}, {max(seventh):.3f} |")
    print(*rows(first, list(standstills)), sep="\n")


if __name__ == "__main__":
    main()
