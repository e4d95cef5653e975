"""Many calls at once through the LlamaIndex postprocessor: how long they take together, and how long the loop stands still.

Run: ``python tests/benchmarks/llamaindex.py [--calls N] [--seconds S] [--rounds N]``.  The server is a process of its own and
answers each request after S seconds.  "in threads" is what LlamaIndex does for a class without async code of its own.  What
was imported is kept from the garbage collector, which would stop the loop to look at it, as servers do after they started.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, TextNode

from helpers.services import COHERE, KEY
from integration.reliability.fault_server import FaultServer
from integration.reliability.faults import Later
from llamaindex_rerankkit import CohereRerank


class InThreads(BaseNodePostprocessor):
    """The same, by LlamaIndex's own way of making blocking code async."""

    inner: Any

    def _postprocess_nodes(self, nodes: list[NodeWithScore], query_bundle: Any = None) -> list[NodeWithScore]:
        return self.inner._postprocess_nodes(nodes, query_bundle)


async def longest_gap(over: asyncio.Event) -> tuple[float, float]:
    """Seconds for which the loop did not turn, at most: by the clock, and those it worked itself."""
    gaps: list[tuple[float, float]] = []
    last, worked = time.perf_counter(), time.thread_time()
    while not over.is_set():
        await asyncio.sleep(0.001)
        gaps.append((time.perf_counter() - last - 0.001, time.thread_time() - worked))
        last, worked = time.perf_counter(), time.thread_time()
    return max(gap for gap, _ in gaps), max(work for _, work in gaps)


async def at_once(reranker: BaseNodePostprocessor, calls: int) -> tuple[float, float, float]:
    """Seconds for all of them, and the longest gaps."""
    nodes = [NodeWithScore(node=TextNode(text=f"text {n}")) for n in range(10)]
    over = asyncio.Event()
    watch = asyncio.create_task(longest_gap(over))
    started = time.perf_counter()
    await asyncio.gather(*(reranker.apostprocess_nodes(nodes, query_str=f"query {n}") for n in range(calls)))
    seconds = time.perf_counter() - started
    over.set()
    return seconds, *await watch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    server = FaultServer()
    with server.stage(COHERE.name) as stage:
        stage.always(Later(options.seconds))
        asyncio.run(at_once(CohereRerank(api_key=KEY, base_url=stage.url), 1))  # the first call of a process imports httpx
        gc.collect()
        gc.freeze()
        print("| way | all calls, s | longest gap of the loop, ms | of that its own work, ms |\n|---|---:|---:|---:|")
        for name in ("native", "native, connections open", "in threads"):
            found: list[tuple[float, float, float]] = []
            for _ in range(options.rounds):
                reranker = CohereRerank(api_key=KEY, base_url=stage.url, timeout=60)
                way = InThreads(inner=reranker) if name == "in threads" else reranker
                with asyncio.Runner() as runner:
                    if name.endswith("open"):
                        runner.run(at_once(way, options.calls))
                    found.append(runner.run(at_once(way, options.calls)))
                    runner.run(reranker.aclose())
            seconds, gap, work = (statistics.median(values) for values in zip(*found, strict=True))
            print(f"| {name} | {seconds:.2f} | {gap * 1_000:.0f} | {work * 1_000:.0f} |")
    server.stop()


if __name__ == "__main__":
    main()
