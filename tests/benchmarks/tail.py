"""What hedging makes of the slowest answers: 5 % of them take 1 s instead of 20 ms.

Run: ``python tests/benchmarks/tail.py [--rounds N] [--calls N]``.  The emulator runs in a process of its own; 10 calls are
under way at a time, in threads or in one event loop. Each round has a seed of its own, which says whose answers are slow, and
begins with rerankers that know nothing yet. Figures are medians of the rounds, the worst round in brackets; extra requests
are those beyond one a call, by the emulator's own count.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from rerankkit import Reranker, connect
from rerankkit.emulator import Emulator, faults
from rerankkit.resilience.hedged import Hedged

AT_A_TIME = 10
PLAN = faults.Latency(seconds=0.02, tail_seconds=0.98, tail_rate=0.05)
QUERY, DOCUMENTS = "ferry timetable", [f"page {number} of the ferry timetable" for number in range(10)]


@dataclass(frozen=True)
class Round:
    """Milliseconds of each call, in order of size, and the share of extra requests."""

    milliseconds: list[float]
    extra: float

    def quantile(self, share: float) -> float:
        return self.milliseconds[int(share * (len(self.milliseconds) - 1))]


WAYS: Mapping[str, Callable[[], Reranker]] = {
    "Client": lambda: connect("cohere"),
    "Hedged, 50 ms, same service": lambda: Hedged(connect("cohere"), delay=0.05),
    "Hedged, 50 ms, another service": lambda: Hedged(connect("cohere"), connect("voyage"), delay=0.05),
    "Hedged, its own percentile, same service": lambda: Hedged(connect("cohere")),
    "Hedged, its own percentile, another service": lambda: Hedged(connect("cohere"), connect("voyage")),
}


def in_threads(reranker: Reranker, calls: int) -> list[float]:
    def call(_: int) -> float:
        started = time.perf_counter()
        reranker.rerank(QUERY, DOCUMENTS)
        return (time.perf_counter() - started) * 1_000

    with ThreadPoolExecutor(AT_A_TIME) as executor:
        return list(executor.map(call, range(calls)))


def in_a_loop(reranker: Reranker, calls: int) -> list[float]:
    async def all_calls() -> list[float]:
        slots = asyncio.Semaphore(AT_A_TIME)

        async def call() -> float:
            async with slots:
                started = time.perf_counter()
                await reranker.arerank(QUERY, DOCUMENTS)
                return (time.perf_counter() - started) * 1_000

        return await asyncio.gather(*(call() for _ in range(calls)))

    return asyncio.run(all_calls())


COLOURS = {"sync": in_threads, "async": in_a_loop}


def one_round(emulator: Emulator, make: Callable[[], Reranker], colour: str, calls: int, seed: int) -> Round:
    emulator.reset()
    emulator.heal(seed=seed)
    emulator.inject(PLAN)
    found = COLOURS[colour](make(), calls)
    sent = sum(service["requests"] for service in emulator.stats().values())
    return Round(sorted(found), (sent - calls) / calls)


def row(name: str, colour: str, rounds: list[Round]) -> str:
    cells = [_figure([found.quantile(share) for found in rounds], ",.0f") for share in (0.5, 0.95, 0.99, 1.0)]
    extra = _figure([found.extra for found in rounds], ".1%")
    return f"| {name} | {colour} | {' | '.join(cells)} | {extra} |"


def _figure(values: list[float], form: str) -> str:
    return f"{statistics.median(values):{form}} ({max(values):{form}})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--calls", type=int, default=400)
    options = parser.parse_args()
    with Emulator() as emulator:
        os.environ.update(emulator.environment)
        for colour in COLOURS:  # what a process does once: imports, the context of TLS
            one_round(emulator, WAYS["Client"], colour, AT_A_TIME, 0)
        print("| reranker | colour | p50, ms | p95, ms | p99, ms | slowest, ms | extra requests |")
        print("|---|---|---:|---:|---:|---:|---:|")
        for name, make in WAYS.items():
            for colour in COLOURS:
                rounds = [one_round(emulator, make, colour, options.calls, seed) for seed in range(options.rounds)]
                print(row(name, colour, rounds), flush=True)


if __name__ == "__main__":
    main()
