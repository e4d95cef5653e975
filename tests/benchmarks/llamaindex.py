"""Many calls at once through the LlamaIndex postprocessor: how long they take together, and how long the loop stands still.

Run: ``python tests/benchmarks/llamaindex.py [--calls N] [--seconds S] [--rounds N] [--freeze]``.  The server is a process of
its own and answers each request after S seconds.  "in threads" is what LlamaIndex does for a class without async code.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, TextNode

from benchmarks.standstill import Standstill, rows, watched
from helpers.services import COHERE, KEY
from integration.reliability.fault_server import FaultServer
from integration.reliability.faults import Later
from llamaindex_rerankkit import CohereRerank


class InThreads(BaseNodePostprocessor):
    """The same, by LlamaIndex's own way of making blocking code async."""

    inner: Any

    def _postprocess_nodes(self, nodes: list[NodeWithScore], query_bundle: Any = None) -> list[NodeWithScore]:
        return self.inner._postprocess_nodes(nodes, query_bundle)


async def at_once(reranker: BaseNodePostprocessor, calls: int) -> tuple[float, Standstill]:
    """Seconds for all of them, and how the loop stood still."""
    nodes = [NodeWithScore(node=TextNode(text=f"text {n}")) for n in range(10)]
    async with watched() as found:
        started = time.perf_counter()
        await asyncio.gather(*(reranker.apostprocess_nodes(nodes, query_str=f"query {n}") for n in range(calls)))
        seconds = time.perf_counter() - started
    return seconds, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--freeze", action="store_true", help="keep what is imported from the garbage collector")
    options = parser.parse_args()
    server = FaultServer()
    with server.stage(COHERE.name) as stage:
        stage.always(Later(options.seconds))
        with CohereRerank(api_key=KEY, base_url=stage.url) as reranker:
            if options.freeze:
                gc.collect()
                gc.freeze()
            _, first = asyncio.run(at_once(reranker, 1))
        for name in ("native", "native, connections open", "in threads"):
            took: list[float] = []
            standstills: list[Standstill] = []
            for _ in range(options.rounds):
                reranker = CohereRerank(api_key=KEY, base_url=stage.url, timeout=60)
                way = InThreads(inner=reranker) if name == "in threads" else reranker
                with asyncio.Runner() as runner:
                    if name.endswith("open"):
                        runner.run(at_once(way, options.calls))
                    seconds, found = runner.run(at_once(way, options.calls))
                    runner.run(reranker.aclose())
                took.append(seconds)
                standstills.append(found)
            print(f"\n| {name} | |\n|---|---:|\n| all calls, s: best, worst | {min(took):.2f}, {max(took):.2f} |")
            print(*rows(first, standstills), sep="\n")
    server.stop()


if __name__ == "__main__":
    main()
