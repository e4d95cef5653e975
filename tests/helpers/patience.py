"""Waiting for what other threads, tasks or processes are about to do."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 20.0  # seconds, for what happens at once on an idle machine


def happens(condition: Callable[[], object], seconds: float = PATIENCE) -> bool:
    """Whether *condition* comes true in time."""
    ends = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < ends:
        time.sleep(0.002)
    return bool(found)


def until(condition: Callable[[], object]) -> None:
    """Return when *condition* is true."""
    assert happens(condition), "it never came to that"
