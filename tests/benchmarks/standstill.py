"""How long an event loop stands still, and how much of that is a full garbage collection.

A full collection looks at all objects of the process, which frameworks fill with a hundred thousand.  It comes when a quarter
more of them has grown old than there were at the last one: calls under way make that so, whoever makes them.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

BEAT = 0.002  # seconds


@dataclass
class Standstill:
    """What one stretch of time held.

    Attributes:
        longest: Seconds between two turns of the loop, at most: by the clock.
        computing: The same by what this thread computed, which other processes do not lengthen.
        full: Seconds of each full collection.
    """

    longest: float = 0.0
    computing: float = 0.0
    full: list[float] = field(default_factory=list)

    async def _watch(self) -> None:
        while True:
            started, computed = time.perf_counter(), time.thread_time()
            await asyncio.sleep(BEAT)
            self.longest = max(self.longest, time.perf_counter() - started - BEAT)
            self.computing = max(self.computing, time.thread_time() - computed)


@asynccontextmanager
async def watched() -> AsyncIterator[Standstill]:
    """The standstill of the loop until the end of the block."""
    found = Standstill()
    began = 0.0

    def note(phase: str, about: dict[str, int]) -> None:
        nonlocal began
        if phase == "start":
            began = time.perf_counter()
        elif about["generation"] == 2:
            found.full.append(time.perf_counter() - began)

    gc.callbacks.append(note)
    heart = asyncio.create_task(found._watch())
    await asyncio.sleep(BEAT)
    try:
        yield found
        await asyncio.sleep(2 * BEAT)  # or a standstill at the end is not seen
    finally:
        heart.cancel()
        gc.callbacks.remove(note)


def rows(first: Standstill, rounds: list[Standstill]) -> list[str]:
    """Lines of a table: the first call's, those of rounds without a full collection, and what collections add."""
    calm = [found for found in rounds if not found.full] or rounds
    full = [seconds for found in rounds for seconds in found.full]
    return [
        f"| the first call of the process: longest standstill, ms | {first.longest * 1_000:.1f} |",
        f"| of that computing, ms | {first.computing * 1_000:.1f} |",
        f"| longest standstill in a round, ms: best, worst | {_range([found.longest for found in calm])} |",
        f"| of that computing, ms: best, worst | {_range([found.computing for found in calm])} |",
        f"| rounds with a full collection | {sum(bool(found.full) for found in rounds)} of {len(rounds)} |",
        f"| a full collection, ms: best, worst | {_range(full) if full else '-'} |",
    ]


def _range(seconds: list[float]) -> str:
    return f"{min(seconds) * 1_000:.1f}, {max(seconds) * 1_000:.1f}"
