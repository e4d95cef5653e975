"""Calls under way in this process, so that nobody asks for what another is asking for just now."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self

from rerankkit._forking import fork_lock
from rerankkit._turns import RACE, copied, is_sent, tell
from rerankkit.deadline import Deadline
from rerankkit.errors import BadRequestError, ProviderError
from rerankkit.resilience._caching.entries import Entry
from rerankkit.types import Attempt, RerankResponse, Usage


@dataclass(frozen=True, slots=True)
class Landing:
    """What came of a flight.  With nothing in it, those who waited ask for themselves.

    Attributes:
        error: The service's failure, which is theirs as well.
        substitute: An answer by another than the first choice.
    """

    entries: Mapping[str, Entry] = field(default_factory=dict[str, Entry])
    error: ProviderError | None = None
    substitute: RerankResponse[Any] | None = None

    def failure(self) -> ProviderError | None:
        """A copy of the error for each: a traceback belongs to one call, and nothing was sent for these."""
        found = None if self.error is None else copied(self.error)
        if found is not None:
            found.attempts = 0
            tell(found, map(_paid, found.history))
        return found

    def substituted(self) -> RerankResponse[Any] | None:
        """The substitute, as an answer for which these sent nothing."""
        found = self.substitute
        return None if found is None else replace(found, attempts=tuple(map(_paid, found.attempts)))


class Flight:
    """One call that fetches the entries of some keys; left as a ``with`` block, it lands in any case.

    Attributes:
        deadline: Of that call: nobody need wait for it longer.
        thread: Where that call is carried out.
        race: What it races in, if it has rivals.
        since: How many had landed when it began.
        landing: What it has found so far.
    """

    def __init__(self, flights: Flights, keys: Sequence[str], deadline: Deadline) -> None:
        self._flights = flights
        self.keys = tuple(keys)
        self.deadline = deadline
        self.thread = threading.get_ident()
        self.race = RACE.get()
        self.since = flights.landed
        self.future: Future[Landing] = Future()
        self.landing = Landing()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(error, ProviderError) and _is_everybodys(error):
            self.landing = Landing(self.landing.entries, copied(error))
        self._flights.land(self)


class Flights:
    """All of one cache.  A forked child has none: they are its parent's."""

    def __init__(self) -> None:
        self._lock = fork_lock()
        self._process = os.getpid()
        self._by_key: dict[str, Flight] = {}
        self.landed = 0

    def __len__(self) -> int:
        return len(self._by_key)

    def claim(self, keys: Sequence[str], deadline: Deadline, follows: Callable[[Flight], bool]) -> tuple[Flight, list[Flight]]:
        """A flight for those of *keys* that are in none that the caller *follows*, and those flights."""
        own: list[str] = []
        others: dict[int, Flight] = {}
        with self._lock:
            if self._process != os.getpid():
                self._by_key, self._process = {}, os.getpid()
            for key in keys:
                flight = self._by_key.get(key)
                if flight is not None and flight.deadline.remaining() and follows(flight):
                    others[id(flight)] = flight
                else:
                    own.append(key)
            begun = Flight(self, own, deadline)
            for key in own:
                self._by_key[key] = begun
        return begun, list(others.values())

    def land(self, flight: Flight) -> None:
        """Let those know who wait for *flight*; what it found is in the store by now."""
        with self._lock:
            self.landed += 1
            for key in flight.keys:
                if self._by_key.get(key) is flight:
                    del self._by_key[key]
        flight.future.set_result(flight.landing)


def _is_everybodys(error: ProviderError) -> bool:
    """Whether others would have failed as well: what is wrong with one call's documents, or its time, need not be wrong with
    another's.
    """
    return not isinstance(error, BadRequestError) and any(map(is_sent, error.history))


def _paid(turn: Attempt) -> Attempt:
    """*turn*, which is on another call's account."""
    return replace(turn, usage=Usage(), cost=0.0)
