"""What a call costs over the HTTP library's own: 100 documents of 1 kB, the same bytes to the same server.

Run: ``python tests/benchmarks/overhead.py [--rounds N] [--calls N]``.  Rounds alternate; each figure is the median of its
rounds.  The bare library sends the request that the package would, encoded once, and reads the reply as bytes.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from helpers.services import COHERE
from integration.reliability.fault_server import FaultServer
from rerankkit import Client
from rerankkit._library import default_transport, load
from rerankkit.provider import Batch

TEXTS = [f"{number:03} " + "ferry " * 166 for number in range(100)]
QUERY = "when does the ferry leave"


def durations(calls: int, call: Callable[[], Any]) -> list[float]:
    """Milliseconds of each call."""
    found: list[float] = []
    for _ in range(calls):
        started = time.perf_counter()
        call()
        found.append((time.perf_counter() - started) * 1_000)
    return found


def ways(url: str, runner: asyncio.Runner) -> dict[str, Callable[[], Any]]:
    """The same exchange by the bare library and by the package, in both colours."""
    library: Any = load(default_transport()).httpx
    client = Client(COHERE.make(url), timeout=60)
    batch = Batch(QUERY, TEXTS, range(len(TEXTS)))
    request = client.provider.authenticate(client.provider.build_request(batch))
    headers = {**request.headers, **request.auth}
    bare, abare = library.Client(timeout=60), library.AsyncClient(timeout=60)

    async def abare_call() -> None:
        (await abare.post(request.url, content=request.content, headers=headers)).raise_for_status()

    async def own_call() -> None:
        await client.arerank(QUERY, TEXTS)

    return {
        f"{library.__name__}, blocking": lambda: bare.post(request.url, content=request.content, headers=headers).content,
        "rerankkit, blocking": lambda: client.rerank(QUERY, TEXTS),
        f"{library.__name__}, async": lambda: runner.run(abare_call()),
        "rerankkit, async": lambda: runner.run(own_call()),
    }


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[int(share * (len(values) - 1))]


def table(rounds: dict[str, list[list[float]]]) -> str:
    """p50 and p99 of each way, and their ratios to the bare library's."""
    lines = ["| way | p50, ms | ratio | p99, ms | ratio |", "|---|---:|---:|---:|---:|"]
    floor: list[float] = []
    for name, found in rounds.items():
        figures = [statistics.median(quantile(one, share) for one in found) for share in (0.5, 0.99)]
        floor = floor if name.startswith("rerankkit") else figures
        (p50, p99), (floor50, floor99) = figures, floor
        lines.append(f"| {name} | {p50:.2f} | {p50 / floor50:.2f} | {p99:.2f} | {p99 / floor99:.2f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--calls", type=int, default=300, help="of each way in a round")
    options = parser.parse_args()
    server = FaultServer()
    with server.stage(COHERE.name) as stage, asyncio.Runner() as runner:
        called = ways(stage.url, runner)
        rounds: dict[str, list[list[float]]] = {name: [] for name in called}
        for call in called.values():
            durations(20, call)
        for _ in range(options.rounds):
            for name, call in called.items():
                rounds[name].append(durations(options.calls, call))
        print(table(rounds))
    server.stop()


if __name__ == "__main__":
    main()
