"""Scores in this process's memory."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence

from rerankkit._checks import check_integer
from rerankkit._forking import fork_lock
from rerankkit.resilience.stores.store import BaseStore, check_ttl

OVERHEAD = 280  # bytes that an entry takes beside its value, its key included.  CPython 3.11, measured


class MemoryStore(BaseStore):
    """Keeps what was used last, in memory; a copy, a pickle or another process begins with nothing.

    Args:
        entries: At most so many; of a pointwise service each is the score of one query and document.
        max_bytes: At most so much memory, about; a score takes about 340 bytes.
        ttl: Seconds after which an entry is forgotten; None: never.

    Raises:
        InvalidRequestError: An argument is out of range.
    """

    def __init__(self, *, entries: int = 100_000, max_bytes: int = 64 * 1024 * 1024, ttl: float | None = None) -> None:
        self._most_entries = check_integer("entries", entries, 1, None)
        self._most_bytes = check_integer("max_bytes", max_bytes, 1, None)
        self._ttl = math.inf if (seconds := check_ttl(ttl)) is None else seconds
        self._held: OrderedDict[str, tuple[bytes, float]] = OrderedDict()  # least recently used first; value, and its end
        self._bytes = 0
        self._lock = fork_lock()

    def __len__(self) -> int:
        return len(self._held)

    def get_many(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        """The values of those *keys* that are there, which now were used last."""
        now = time.monotonic()
        with self._lock:
            return {key: value for key in keys if (value := self._get(key, now)) is not None}

    def set_many(self, items: Mapping[str, bytes]) -> None:
        """Keep *items*; what was used longest ago makes room."""
        ends = time.monotonic() + self._ttl
        with self._lock:
            for key, value in items.items():
                self._drop(key)
                self._held[key] = (value, ends)
                self._bytes += _size(value)
            while len(self._held) > self._most_entries or self._bytes > self._most_bytes:
                self._drop(next(iter(self._held)))

    def _get(self, key: str, now: float) -> bytes | None:
        value, ends = self._held.get(key, (None, math.inf))
        if ends <= now:
            self._drop(key)
            return None
        if value is not None:
            self._held.move_to_end(key)
        return value

    def _drop(self, key: str) -> None:
        value, _ = self._held.pop(key, (None, 0.0))
        if value is not None:
            self._bytes -= _size(value)


def _size(value: bytes) -> int:
    return len(value) + OVERHEAD
