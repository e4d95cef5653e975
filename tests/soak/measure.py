"""What a process holds, and how long its calls took, in memory that does not grow with them."""

from __future__ import annotations

import gc
import tracemalloc
from array import array
from dataclasses import dataclass

from helpers.processes import Held

LONGEST = 60_000  # milliseconds; the last bucket holds what took longer


class Durations:
    """How many calls took how many milliseconds."""

    def __init__(self) -> None:
        self._buckets = array("L", bytes(array("L").itemsize * (LONGEST + 1)))
        self.most = 0.0

    def add(self, seconds: float) -> None:
        self._buckets[min(int(seconds * 1_000), LONGEST)] += 1
        self.most = max(self.most, seconds)

    def quantile(self, share: float) -> float:
        """Seconds that *share* of the calls took at most."""
        left = share * sum(self._buckets)
        for milliseconds, count in enumerate(self._buckets):
            left -= count
            if left <= 0:
                return (milliseconds + 1) / 1_000
        return self.most


@dataclass(frozen=True)
class Rest:
    """A moment at which no call is under way.

    Attributes:
        calls: How many there have been.
        heap: Bytes that Python has allocated since the measuring began, after a garbage collection.
        rate: Calls a second since the last rest.
    """

    calls: int
    failed: int
    heap: int
    held: Held
    rate: float

    @classmethod
    def now(cls, calls: int, failed: int, rate: float) -> Rest:
        gc.collect()
        return cls(calls, failed, tracemalloc.get_traced_memory()[0], Held.now(), rate)

    def __str__(self) -> str:
        held = f"{self.held.descriptors} descriptors, {self.held.threads} threads"
        return f"{self.rate:,.0f}/s, {self.failed} failed, heap {self.heap / 1024:,.0f} KiB, {held}"


def growth(rests: list[Rest]) -> float:
    """Bytes by which the heap grew from the middle of the run to its end, for each 10,000 calls.

    In fewer than 10,000 calls it may grow as much as in those: a connection more or less is no leak.
    """
    middle = next(rest for rest in rests if rest.calls * 2 >= rests[-1].calls)
    return (rests[-1].heap - middle.heap) / max(1.0, (rests[-1].calls - middle.calls) / 10_000)
