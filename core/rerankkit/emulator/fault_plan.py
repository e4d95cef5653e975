"""Which faults strike which request."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from rerankkit.emulator.faults import AnyFault, Latency
from rerankkit.emulator.service import Call

RANKING = ("/rerank", ".Rescore")
"""How the operations end that rank."""


@dataclass(slots=True)
class _Active:
    fault: AnyFault
    chance: random.Random
    passed: int = 0
    struck: int = field(default=0)

    def strikes(self, service: str, call: Call) -> bool:
        """Whether it strikes this request, which counts then."""
        fault = self.fault
        if not _fits(fault, service, call) or self.struck == fault.times:
            return False
        if self.passed < fault.after:
            self.passed += 1
            return False
        if fault.rate < 1 and self.chance.random() >= fault.rate:
            return False
        self.struck += 1
        return True


class FaultPlan:
    """The faults of one emulator, first come first served.

    Args:
        seed: Of all that is random: the same requests in the same order meet the same faults.
        faults: Those that are there from the start.
    """

    def __init__(self, seed: int = 0, faults: Sequence[AnyFault] = ()) -> None:
        self._initial = (seed, tuple(faults))
        self._seed = seed
        self._active: list[_Active] = []
        self.reset()

    def reset(self) -> None:
        """As at the start."""
        seed, faults = self._initial
        self.clear(seed)
        self.add(faults)

    def add(self, faults: Sequence[AnyFault]) -> None:
        """Let *faults* strike after those that are there."""
        for fault in faults:
            chance = random.Random(f"{self._seed}/{len(self._active)}")  # noqa: S311 -- as above
            self._active.append(_Active(fault, chance))

    def clear(self, seed: int | None = None) -> None:
        """No faults."""
        self._seed = self._seed if seed is None else seed
        self._active.clear()
        self._tail = random.Random(self._seed)  # noqa: S311 -- nothing secret hangs on it

    def describe(self) -> list[dict[str, object]]:
        """Each fault, and how many requests it has struck."""
        return [{**active.fault.model_dump(), "struck": active.struck} for active in self._active]

    def strike(self, service: str, call: Call) -> tuple[float, AnyFault | None]:
        """Seconds to wait before the reply, and what is done to it: the first fault that strikes, latencies apart."""
        seconds = 0.0
        found: AnyFault | None = None
        for active in self._active:
            fault = active.fault
            if isinstance(fault, Latency):
                seconds += self._late(fault) if active.strikes(service, call) else 0.0
            elif found is None and active.strikes(service, call):
                found = fault
        return seconds, found

    def _late(self, fault: Latency) -> float:
        unlucky = fault.tail_seconds > 0 and self._tail.random() < fault.tail_rate
        return fault.seconds + (fault.tail_seconds if unlucky else 0.0)


def _fits(fault: AnyFault, service: str, call: Call) -> bool:
    if fault.service not in (None, service):
        return False
    if fault.path is not None and not operation_of(call).endswith(fault.path):
        return False
    if fault.ranking_only and not operation_of(call).endswith(RANKING):
        return False
    return fault.contains is None or any(form in call.body for form in _written(fault.contains))


def operation_of(call: Call) -> str:
    """Kendra's operation, or the path."""
    return call.headers.get("x-amz-target", call.path)


def _written(text: str) -> set[bytes]:
    """*text* as a body may hold it: as it is, or as JSON, where what is not ASCII may be escaped or not."""
    return {text.encode("utf-8", "replace"), *(json.dumps(text, ensure_ascii=plain)[1:-1].encode() for plain in (True, False))}
