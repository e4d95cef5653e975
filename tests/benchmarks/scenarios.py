"""What is measured: each scenario is what a contestant does in its turn, and with whom."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from benchmarks.behaviour import Behaviour, ideal
from benchmarks.contestants.contestant import Contestant
from benchmarks.processes import Process, Service, cold
from benchmarks.samples import Sample, medians, quietest
from benchmarks.scale import Scale


@dataclass
class Turn:
    """One contestant's turn in one round; the lane is its own part of the service."""

    contestant: type[Contestant]
    service: Service
    lane: str
    scale: Scale
    number: int
    python: str = sys.executable
    process: Process | None = None

    def tell(self, order: str, **options: Any) -> Sample:
        assert self.process is not None
        return self.process.tell(order, **options)

    def behave(self, **behaviour: Any) -> str:
        return self.service.behave(self.lane, Behaviour(**behaviour))

    def counts(self) -> dict[str, int]:
        return self.service.counts(self.lane)

    def colours(self) -> list[str]:
        """In which it is called; a thread's async call is the blocking one again."""
        one = self.contestant
        found = [name for name, can in (("sync", one.blocking), ("async", one.native)) if can]
        return found if self.scale.everyone or one.name.startswith("core[") else found[-1:]


class Scenario:
    """One way to be used.

    Attributes:
        title: A sentence for tables.
        together: Contestants that have their turns at the same time, where most of it is waiting.
        fresh: Each turn is a process of its own.
        effort: That a contestant may take to be in a quick run of it.
        kinds: Who takes part.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    together: ClassVar[int] = 1
    fresh: ClassVar[bool] = False
    effort: ClassVar[int] = 0
    kinds: ClassVar[frozenset[str]] = frozenset({"floor", "ours", "peer"})

    def rounds(self, scale: Scale) -> int:
        return scale.rounds

    def takes(self, contestant: type[Contestant], scale: Scale) -> bool:
        if contestant.scenarios is not None and self.name not in contestant.scenarios:
            return False
        known = contestant.scenarios is not None or contestant.kind in self.kinds
        return known and (scale.everyone or contestant.effort <= self.effort)

    def turn(self, turn: Turn) -> Sample:
        raise NotImplementedError

    def figures(self, samples: Sequence[Sample]) -> Sample:
        return medians(samples)


class Sync(Scenario):
    name = "sync"
    effort = 1
    title = "one blocking call after the other over a kept connection, to a service that answers at once"
    blocking: ClassVar[bool] = True

    def takes(self, contestant: type[Contestant], scale: Scale) -> bool:
        return super().takes(contestant, scale) and contestant.blocking

    def calls(self, scale: Scale) -> Mapping[int, int]:
        return scale.sync

    def turn(self, turn: Turn) -> Sample:
        turn.behave()
        return {str(count): self._block(turn, count, calls) for count, calls in self.calls(turn.scale).items()}

    def _block(self, turn: Turn, count: int, calls: int) -> Sample:
        found = turn.tell("serial", count=count, size=turn.scale.size, calls=calls, blocking=self.blocking)
        seconds = sorted(found["seconds"])
        median, p95 = statistics.median(seconds), seconds[int(0.95 * (len(seconds) - 1))]
        return {"median": median, "p95": p95, "computed": found["computed"]}

    def figures(self, samples: Sequence[Sample]) -> Sample:
        return {count: medians(quietest([sample[count] for sample in samples], "median")) for count in samples[0]}


class Async(Sync):
    name = "async"
    title = "one awaited call after the other over a kept connection, to a service that answers at once"
    blocking = False

    def rounds(self, scale: Scale) -> int:
        return scale.rounds if scale.everyone else min(3, scale.rounds)

    def takes(self, contestant: type[Contestant], scale: Scale) -> bool:
        return Scenario.takes(self, contestant, scale) and bool(contestant.native)

    def calls(self, scale: Scale) -> Mapping[int, int]:
        return dict(list(scale.sync.items())[:2])


class Burst(Scenario):
    name = "burst"
    effort = 1
    title = "calls all at once in one event loop, to a service that takes 50 ms"

    def rounds(self, scale: Scale) -> int:
        return scale.rounds if scale.everyone else min(3, scale.rounds)

    def takes(self, contestant: type[Contestant], scale: Scale) -> bool:
        return super().takes(contestant, scale) and contestant.native is not None

    def turn(self, turn: Turn) -> Sample:
        calls, count = turn.scale.burst
        turn.tell("open", url=turn.behave(latency=turn.scale.burst_latency))
        opening = turn.tell("burst", count=count, size=turn.scale.size, calls=calls)
        turn.behave(latency=turn.scale.burst_latency)
        return {
            **turn.tell("burst", count=count, size=turn.scale.size, calls=calls),
            "opening": opening,
            "service": turn.counts(),
        }

    def figures(self, samples: Sequence[Sample]) -> Sample:
        return medians(quietest(samples, "took"))


class OverLimit(Scenario):
    name = "over_limit"
    title = "one call of 3,000 documents to a service that takes 0.5 ms for each, and refuses more than it documents"

    def rounds(self, scale: Scale) -> int:
        return min(3 if scale.everyone else 2, scale.rounds)

    def turn(self, turn: Turn) -> Sample:
        return {colour: self._call(turn, blocking=colour == "sync") for colour in self._colours(turn)}

    @staticmethod
    def _colours(turn: Turn) -> list[str]:
        one = turn.contestant
        found = [name for name, can in (("sync", one.blocking), ("async", one.native)) if can]
        return found if turn.scale.everyone or one.name.startswith("core[") else found[:1]

    @staticmethod
    def _call(turn: Turn, *, blocking: bool) -> Sample:
        scale = turn.scale
        turn.behave()
        turn.tell("warm", count=10, size=scale.size, at_a_time=1, blocking=blocking)
        turn.behave(per_document=scale.per_document, limits=True)
        found = turn.tell("once", count=scale.over_limit, size=scale.size, blocking=blocking)
        return {**found, "service": turn.counts()}


class Cold(Scenario):
    name = "cold"
    title = "a new process: import, make the client, the first call"
    fresh = True

    def rounds(self, scale: Scale) -> int:
        return scale.cold_rounds

    def turn(self, turn: Turn) -> Sample:
        found = cold(turn.contestant, turn.behave(), turn.python)
        return {**found, "ready": found["import"] + found["construct"] + found["first"]}


class Stream(Scenario):
    """Calls at a fixed number of callers."""

    together = 4
    calls_at_a_time: ClassVar[int]
    documents: ClassVar[int] = 20
    same: ClassVar[bool] = False

    def calls(self, scale: Scale) -> int:
        raise NotImplementedError

    def behaviour(self, turn: Turn) -> Behaviour:
        raise NotImplementedError

    def turn(self, turn: Turn) -> Sample:
        return {colour: self._stream(turn, blocking=colour == "sync") for colour in turn.colours()}

    def _stream(self, turn: Turn, *, blocking: bool) -> Sample:
        calls, behaviour = self.calls(turn.scale), self.behaviour(turn)
        shape = {"count": self.documents, "size": turn.scale.size, "at_a_time": self.calls_at_a_time, "blocking": blocking}
        turn.tell("open", url=turn.behave())
        turn.tell("warm", **shape)
        turn.service.behave(turn.lane, behaviour)
        found = turn.tell("stream", calls=calls, same=self.same, **shape)
        return {**found, "calls": calls, "service": turn.counts()}


class Faults(Stream):
    name = "faults"
    title = "500 calls, 20 at a time: 10 % answered 429 with Retry-After 1, 5 % 503, 2 % reset"
    calls_at_a_time = 20
    kinds = frozenset({"ours", "peer"})

    def rounds(self, scale: Scale) -> int:
        return len(scale.seeds)

    def calls(self, scale: Scale) -> int:
        return scale.faults

    def behaviour(self, turn: Turn) -> Behaviour:
        faults = {"429": 0.10, "503": 0.05, "reset": 0.02}
        return Behaviour(latency=0.02, faults=faults, seed=turn.scale.seeds[turn.number])

    def _stream(self, turn: Turn, *, blocking: bool) -> Sample:
        best = ideal(self.behaviour(turn), self.calls(turn.scale), self.calls_at_a_time, draws=20)
        return {**super()._stream(turn, blocking=blocking), "ideal": best}


class Tail(Stream):
    name = "tail"
    title = "10 at a time; 5 % of the answers take 1 s instead of 20 ms"
    calls_at_a_time = 10
    kinds = frozenset({"ours", "peer"})

    def rounds(self, scale: Scale) -> int:
        return min(3, scale.rounds) if scale.everyone else 1

    def calls(self, scale: Scale) -> int:
        return scale.tail

    def behaviour(self, turn: Turn) -> Behaviour:
        return Behaviour(latency=0.02, faults={"slow": 0.05}, slow=1.0, seed=turn.number)


class Duplicates(Stream):
    name = "duplicates"
    title = "the same query and 100 documents again and again, 10 at a time, to a service that takes 50 ms"
    calls_at_a_time = 10
    documents = 100
    same = True
    kinds = frozenset({"ours", "peer"})

    def rounds(self, scale: Scale) -> int:
        return min(3, scale.rounds) if scale.everyone else 1

    def calls(self, scale: Scale) -> int:
        return scale.duplicates

    def behaviour(self, turn: Turn) -> Behaviour:
        return Behaviour(latency=0.05)


class Memory(Scenario):
    name = "memory"
    title = "one call of 1,000 documents of 10 kB in a new process"
    together = 2
    fresh = True

    def rounds(self, scale: Scale) -> int:
        return min(3, scale.rounds) if scale.everyone else 1

    def takes(self, contestant: type[Contestant], scale: Scale) -> bool:
        return super().takes(contestant, scale) and contestant.blocking

    def turn(self, turn: Turn) -> Sample:
        count, size = turn.scale.memory
        return turn.tell("memory", count=count, size=size)


class Growth(Scenario):
    name = "growth"
    title = "what a blocking call takes as the list grows, documents of 1 kB, to a service that answers at once"

    def rounds(self, scale: Scale) -> int:
        return min(3, scale.rounds) if scale.everyone else 1

    def takes(self, contestant: type[Contestant], scale: Scale) -> bool:
        return super().takes(contestant, scale) and contestant.blocking

    def turn(self, turn: Turn) -> Sample:
        turn.behave()
        found = {count: self._median(turn, count) for count in turn.scale.growth}
        return {str(count): median for count, median in found.items()}

    @staticmethod
    def _median(turn: Turn, count: int) -> float:
        calls = min(20, max(3, 3_000 // count))
        return statistics.median(turn.tell("serial", count=count, size=turn.scale.size, calls=calls, warm=0)["seconds"])


SCENARIOS: Mapping[str, Scenario] = {
    one.name: one for one in (Sync(), Async(), Burst(), OverLimit(), Cold(), Faults(), Tail(), Duplicates(), Memory(), Growth())
}
