"""What was scored before is not scored again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from rerankkit._checks import kind_of
from rerankkit._degrading import NOTICES
from rerankkit._io import IO
from rerankkit._turns import call, label_of, tell
from rerankkit.errors import InvalidRequestError, RerankError
from rerankkit.identity import Cacheable, CacheIdentity
from rerankkit.reranker import Reranker
from rerankkit.resilience._caching.entries import Entry
from rerankkit.resilience._caching.flights import Flight, Flights, Landing
from rerankkit.resilience._caching.tiers import Tiers
from rerankkit.resilience._caching.units import Entries, units_of
from rerankkit.resilience._caching.work import SubstitutedError, Work, never
from rerankkit.resilience.stores.memory import MemoryStore
from rerankkit.resilience.stores.store import Store
from rerankkit.resilience.wrapper import Wrapper
from rerankkit.types import CacheUse, D, RerankRequest, RerankResponse

PASSES = 3  # to have all scores from one model, of a service that is about to serve another


class Cached(Wrapper):
    """Keeps scores, and sends only what has none: ``Cached(Client(Cohere()), MemoryStore(), RedisStore())``.

    Services that score each document on its own are asked about the pairs of query and document that are new; of others,
    such as Kendra and `Fallback`, whole answers are kept. Calls under way share: what one is asking for, others wait for.
    An answer that is degraded or partial is not kept. Keys are hashes: neither queries nor documents are kept.

    Args:
        reranker: A `Client`, or what is composed of them.
        stores: Where to keep scores, the quickest first; none: a `MemoryStore`. All are closed with this.
        timeout: Seconds for a call as a whole; None: that of the reranker.

    Raises:
        InvalidRequestError: The reranker does not say what its scores depend on, or a store is none.
    """

    keeps_scores: ClassVar[bool] = True

    def __init__(self, reranker: Reranker, *stores: Store, timeout: float | None = None) -> None:
        super().__init__(reranker, timeout=timeout)
        self._identity = _identity_of(reranker)
        self._tiers = Tiers([_checked(store) for store in stores] or [MemoryStore()])
        self._flights = Flights()
        self._is_closed = False

    async def _rerank(self, io: IO, request: RerankRequest[D]) -> RerankResponse[D]:
        if self._is_closed:
            raise InvalidRequestError("this cache is closed: make a new one")
        try:
            work = Work(io, self.rerankers[0], request, units_of(self._identity, request))
        except InvalidRequestError as error:
            return await self._uncached(io, request, error)
        if not work.units.keys:
            return replace(await call(io, self.rerankers[0], request), cache=CacheUse(0, 0, 0.0))
        try:
            return await self._answer(work)
        except RerankError as error:
            if work.answers:
                tell(error, (*work.turns(), *error.history))
            raise

    async def _answer(self, work: Work[D]) -> RerankResponse[D]:
        try:
            entries = await self._of_one_model(work)
        except SubstitutedError as found:
            return await work.substituted(found.response)
        return work.answered(entries)

    async def _uncached(self, io: IO, request: RerankRequest[D], error: InvalidRequestError) -> RerankResponse[D]:
        """The answer to a call that has no key; mostly because it is wrong, and the reranker will say so."""
        response = await call(io, self.rerankers[0], request)
        NOTICES.tell(f"the cache of {self.label}", error, "so that a call went through uncached")
        return replace(response, cache=CacheUse(0, len(request.items), 0.0))

    async def _of_one_model(self, work: Work[D]) -> Entries:
        """All entries of a call: scores of two models cannot be compared, so those of the one before are asked for anew."""
        found: dict[str, Entry] = {}
        wanted: str | None = None
        for _ in range(PASSES):
            found = await self._gathered(work, found, wanted)
            if len({entry.served_by for entry in found.values()}) == 1:
                return found
            latest = work.answers[-1] if work.answers else found[work.units.keys[0]]
            wanted = latest.served_by
            found = {key: entry for key, entry in found.items() if entry.served_by == wanted}
        return await work.fetched(work.units.keys)

    async def _gathered(self, work: Work[D], found: Mapping[str, Entry], wanted: str | None) -> dict[str, Entry]:
        """An entry for each key: a kept one, another call's, or a new one.

        Those whose flight came to nothing share once more; after that each asks for itself, so that nobody waits in a queue.
        """
        gathered = dict(found)
        for follows in (work.can_wait, work.can_wait, never):
            landed = self._flights.landed
            gathered |= await self._kept(work, work.missing(gathered), wanted)
            flight, others = self._flights.claim(work.missing(gathered), work.request.deadline, follows)
            if flight.keys:
                gathered |= await self._led(work, flight, wanted, looks_again=flight.since != landed)
            for other in others:
                gathered |= await work.followed(other)
            if not work.missing(gathered):
                break
        return gathered

    async def _led(self, work: Work[D], flight: Flight, wanted: str | None, *, looks_again: bool) -> dict[str, Entry]:
        """The entries of a flight of this call's own; it waits for no other before it has landed."""
        with flight:
            found = await self._kept(work, flight.keys, wanted) if looks_again else {}
            flight.landing = Landing(found)
            try:
                new = await work.fetched([key for key in flight.keys if key not in found])
            except SubstitutedError as instead:
                flight.landing = Landing(found, substitute=instead.response)
                raise
            found |= new
            await self._tiers.set(work.io, work.request.deadline, new)
        return found

    async def _kept(self, work: Work[D], keys: Sequence[str], wanted: str | None) -> dict[str, Entry]:
        """Entries from the stores, of any model or the one that is *wanted*."""
        return await self._tiers.get(
            work.io, work.request.deadline, keys, work.units.indices, lambda entry: wanted in (None, entry.served_by)
        )

    def close(self) -> None:
        """Close the reranker and the stores."""
        self._is_closed = True
        super().close()
        for store in self._tiers.stores:
            store.close()

    async def aclose(self) -> None:
        """Close the reranker and the stores, also what the running event loop opened."""
        self._is_closed = True
        await super().aclose()
        for store in self._tiers.stores:
            store.close()


def _identity_of(reranker: Reranker) -> CacheIdentity:
    identity = reranker.cache_identity() if isinstance(reranker, Cacheable) else None
    if identity is None:
        raise InvalidRequestError(
            f"{label_of(reranker)} does not say what its scores depend on, so that they cannot be kept: give it the method "
            "cache_identity(), or put Cached around the clients inside it"
        )
    return identity


def _checked(store: object) -> Store:
    if not isinstance(store, Store) or isinstance(store, type):
        raise InvalidRequestError(f"expected a store such as MemoryStore() or SQLiteStore(path), got {kind_of(store)}")
    return store
