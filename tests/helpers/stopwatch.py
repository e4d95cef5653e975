"""Time that a deadline can answer for."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

PROCESS = Path("/proc/self/task")
THREAD = Path("/proc/thread-self")


class Stopwatch:
    """Runs from when it is made.

    Args:
        of_thread: Whether the calling thread's waits alone are taken off: where many threads wait at once, theirs add up.
    """

    def __init__(self, *, of_thread: bool = False) -> None:
        self._of_thread = of_thread
        self._started, self._before = time.monotonic(), self._waits()

    def seconds(self) -> float:
        """How long it has run."""
        return time.monotonic() - self._started

    def own_seconds(self) -> float:
        """How long it has run, without what this process's threads have waited for a processor meanwhile.

        A busy machine holds up what no deadline can: a thread, or another that has Python's lock, for which it waits.
        """
        seconds = self.seconds()
        return seconds - sum(waited - self._before.get(thread, 0.0) for thread, waited in self._waits().items())

    def _waits(self) -> dict[str, float]:
        return _waits([THREAD] if self._of_thread else PROCESS.glob("*"))


def _waits(threads: Iterable[Path]) -> dict[str, float]:
    """Seconds for which each thread was ready and had no processor, as the kernel counts them."""
    found: dict[str, float] = {}
    for thread in threads:
        try:
            found[thread.name] = int((thread / "schedstat").read_text("ascii").split()[1]) / 1e9
        except OSError:  # it has ended, or the kernel does not count
            continue
    return found
