"""One call that looks for what is kept, asks for the rest, and is put together from both."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, Generic

from rerankkit._degrading import estimate_afterwards
from rerankkit._io import BLOCKING, IO
from rerankkit._turns import RACE, call, label_of
from rerankkit.errors import DeadlineExceededError
from rerankkit.money import sum_of_costs
from rerankkit.reranker import Reranker
from rerankkit.resilience._caching.entries import Entry
from rerankkit.resilience._caching.flights import Flight
from rerankkit.resilience._caching.units import Entries, Units
from rerankkit.types import Attempt, CacheUse, D, RerankRequest, RerankResponse, Usage


class SubstitutedError(Exception):
    """Another than the first choice answered, or nobody: what was kept does not go with that."""

    def __init__(self, response: RerankResponse[Any]) -> None:
        super().__init__()
        self.response = response


@dataclass(slots=True)
class Work(Generic[D]):
    """One call: what it needs, and what was sent for it."""

    io: IO
    reranker: Reranker
    request: RerankRequest[D]
    units: Units[D]
    answers: list[RerankResponse[D]] = field(default_factory=list[RerankResponse[D]])
    sent: dict[str, None] = field(default_factory=dict[str, None])
    warnings: list[str] = field(default_factory=list[str])

    def missing(self, found: Mapping[str, Entry]) -> list[str]:
        """The keys that are not in *found*."""
        return [key for key in self.units.keys if key not in found]

    def can_wait(self, flight: Flight) -> bool:
        """Whether *flight* goes on while this call waits: not if that holds up the thread, or the event loop, it is in.

        A hedge of the call that is carried out there does not wait for what it is to overtake.
        """
        is_rival = flight.race is not None and flight.race is RACE.get()
        return not is_rival and (self.io is not BLOCKING or flight.thread != threading.get_ident())

    async def fetched(self, keys: Sequence[str]) -> dict[str, Entry]:
        """New entries for *keys*.

        Raises:
            SubstitutedError: They are not what the first choice would have said.
        """
        if not keys:
            return {}
        part = self.units.request_for(keys)
        self.sent.update(dict.fromkeys(keys))
        response = await call(self.io, self.reranker, part)
        self.answers.append(response)
        self.warnings += self.units.own_warnings(part, response)
        if response.status != "ok":
            raise SubstitutedError(response)
        return dict(self.units.entries(keys, response))

    async def followed(self, flight: Flight) -> dict[str, Entry]:
        """Another call's entries for this one; those that are still missing it has to ask for itself.

        Raises:
            ProviderError: The other's, whose request this one would have repeated.
        """
        deadline = self.request.deadline
        try:
            landing = await self.io.wait(flight.future, deadline.sooner(flight.deadline.remaining()))
        except TimeoutError:
            if deadline.remaining():
                return {}
            error = DeadlineExceededError(
                f"{label_of(self.reranker)} did not answer another call about the same documents within "
                f"{deadline.seconds:g} s; allow more with timeout="
            )
            error.sent = False
            raise error from None
        is_whole = all(key in landing.entries for key in self.units.keys if key in flight.keys)
        if not is_whole and (failure := landing.failure()) is not None:
            raise failure
        if not is_whole and (substitute := landing.substituted()) is not None:
            raise SubstitutedError(substitute)
        return {key: landing.entries[key] for key in self.units.keys if key in landing.entries}

    async def substituted(self, response: RerankResponse[Any]) -> RerankResponse[D]:
        """An answer for which nothing that is kept was used."""
        found = self.units.substitute(response)
        if found is None:
            response = found = await call(self.io, self.reranker, self.request)
            self.answers.append(found)
        others = () if any(answer is response for answer in self.answers) else response.attempts
        return replace(
            self._accounted(found),
            attempts=(*self.turns(), *others),
            cache=CacheUse(0, self.units.size(self.sent), 0.0),
        )

    def answered(self, entries: Entries) -> RerankResponse[D]:
        """The answer made of *entries*."""
        first = entries[self.units.keys[0]]
        response = RerankResponse(
            tuple(self.units.results(entries))[: self.request.top_n],
            provider=first.provider,
            model=first.model,
            warnings=tuple(dict.fromkeys(self.units.warnings(entries, self.warnings))),
            attempts=self.turns(),
            cache=self._use(),
        )
        return self._accounted(response)

    def turns(self) -> tuple[Attempt, ...]:
        """All that were taken for this call, and answered."""
        return tuple(chain.from_iterable(answer.attempts for answer in self.answers))

    def _accounted(self, response: RerankResponse[D]) -> RerankResponse[D]:
        """*response* with what was sent for this call, and nothing else."""
        return replace(
            response,
            usage=sum((answer.usage for answer in self.answers), Usage()),
            request_ids=tuple(chain.from_iterable(answer.request_ids for answer in self.answers)),
            cost=sum_of_costs(*(answer.cost for answer in self.answers)) if self.answers else 0.0,
        )

    def _use(self) -> CacheUse:
        misses = self.units.size(self.sent)
        hits = self.units.count - misses
        return CacheUse(hits, misses, self._saved() if hits else 0.0)

    def _saved(self) -> float | None:
        """What the whole call would have cost more than what was sent: half a search unit costs as much as one."""
        whole = estimate_afterwards(self.reranker, self.request).cost
        if not self.sent:
            return whole
        part = estimate_afterwards(self.reranker, self.units.request_for(list(self.sent))).cost
        return None if whole is None or part is None else max(0.0, whole - part)


def never(_: Flight) -> bool:
    """No waiting."""
    return False
