"""Stores one after the other: what a later one has is put into those before it.  None of their failures is the call's."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import CancelledError
from functools import partial
from typing import TypeVar

from rerankkit._degrading import NOTICES
from rerankkit._io import IO
from rerankkit.deadline import Deadline
from rerankkit.resilience._caching.entries import Entry, decoded, encoded
from rerankkit.resilience.stores.memory import MemoryStore
from rerankkit.resilience.stores.store import Store

T = TypeVar("T")

MOST_SECONDS = 1.0  # that a call waits for a store
SHARE = 0.25  # of the time a call has left, which is less than that if the call is in a hurry
REST_SECONDS = 1.0  # that a store is left alone after it failed


class Tiers:
    """Stores, the quickest first."""

    def __init__(self, stores: Sequence[Store]) -> None:
        self.stores = tuple(stores)
        self._rest_ends = [0.0] * len(self.stores)
        self._rest_below = [0.0] * len(self.stores)  # seconds: who could wait longer asks all the same

    async def get(
        self, io: IO, deadline: Deadline, keys: Sequence[str], indices: Collection[int], accepts: Callable[[Entry], bool]
    ) -> dict[str, Entry]:
        """The entries of those *keys* that are there and that the caller *accepts*."""
        found: dict[str, Entry] = {}
        for tier, store in enumerate(self.stores):
            missing = [key for key in keys if key not in found]
            if not missing:
                break
            values = await self._tried(io, deadline, tier, partial(store.get_many, missing))
            here = {
                key: entry for key, value in (values or {}).items() if (entry := decoded(value, indices)) and accepts(entry)
            }
            await self._put(io, deadline, here, tier)
            found |= here
        return found

    async def set(self, io: IO, deadline: Deadline, entries: Mapping[str, Entry]) -> None:
        """Keep *entries*, each in the place of an older one."""
        await self._put(io, deadline, {key: entry for key, entry in entries.items() if entry.is_lasting}, len(self.stores))

    async def _put(self, io: IO, deadline: Deadline, entries: Mapping[str, Entry], before: int) -> None:
        """Keep *entries* in the first stores."""
        items = {key: encoded(entry) for key, entry in entries.items()} if before else {}
        for tier, store in enumerate(self.stores[:before] if items else ()):
            await self._tried(io, deadline, tier, partial(store.set_many, items))

    async def _tried(self, io: IO, deadline: Deadline, tier: int, work: Callable[[], T]) -> T | None:
        """What *work* on a store gives; None if it fails or takes too long, and for a while after that.

        A store that was too slow for a call in a hurry may be quick enough for others.
        """
        store = self.stores[tier]
        if isinstance(store, MemoryStore):
            return work()
        patience = min(MOST_SECONDS, SHARE * deadline.remaining())
        if time.monotonic() < self._rest_ends[tier] and patience < self._rest_below[tier]:
            return None
        try:
            return await io.offload(work, deadline.sooner(patience))
        except CancelledError:  # which concurrent.futures takes for an ordinary exception
            raise
        except Exception as error:  # noqa: BLE001 -- a store is anybody's code, and never worth a failed call
            self._rest_ends[tier] = time.monotonic() + REST_SECONDS
            self._rest_below[tier] = 2 * patience if isinstance(error, TimeoutError) else math.inf
            NOTICES.tell(repr(store), error, "so that scores are not kept there for now")
            return None
