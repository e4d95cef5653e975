"""The lines of `gcra.py` in this process, for threads and tasks alike."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

from rerankkit._forking import fork_lock
from rerankkit.resilience._limits.gcra import Amounts, Correction, Lines, Rate, Reservation


class OwnLines:
    """The lines of one limit.  A forked child begins with free ones: whoever waits in its parent does not wait in it."""

    def __init__(self, rates: Sequence[Rate], clock: Callable[[], float] = time.monotonic) -> None:
        self._rates = rates
        self._clock = clock
        self._lock = fork_lock()
        self._lines = (os.getpid(), Lines(rates))

    def reserve(self, amounts: Amounts, longest: float) -> Reservation:
        """A place for a call, unless it would begin more than *longest* seconds from now."""
        with self._lock:
            return self._own().reserve(amounts, self._clock(), longest)

    def correct(self, corrections: Sequence[Correction]) -> None:
        """Put right what was reserved."""
        with self._lock:
            self._own().correct(corrections, self._clock())

    def _own(self) -> Lines:
        pid, lines = self._lines
        if pid != os.getpid():
            lines = Lines(self._rates)
            self._lines = (os.getpid(), lines)
        return lines
