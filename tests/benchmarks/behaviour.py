"""How a service on loopback behaves, and how long it would keep a caller that wastes no time."""

from __future__ import annotations

import heapq
import random
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

Fate = Literal["ok", "slow", "429", "503", "reset"]

LIMITS = {"cohere": 10_000, "voyage": 1_000, "pinecone": 100}  # documents a request, as the services document them


@dataclass(frozen=True)
class Behaviour:
    """What a lane of the service does.

    Attributes:
        latency: Seconds for each answer.
        per_document: Seconds more for each document of the request.
        faults: The share of requests that meets each fault; "slow" is an answer after `slow` seconds instead.
        retry_after: Seconds that a 429 asks for.
        limits: Refuse requests of more documents than the service documents.
        seed: Draws the fates, by a request's number.
    """

    latency: float = 0.0
    per_document: float = 0.0
    faults: Mapping[str, float] = field(default_factory=dict)
    slow: float = 1.0
    retry_after: int = 1
    limits: bool = False
    seed: int = 7

    def fate(self, number: int) -> Fate:
        """What happens to request *number* of the lane: the same for each contestant."""
        if not self.faults:
            return "ok"
        drawn = random.Random(f"{self.seed}:{number}").random()
        for name, share in self.faults.items():
            drawn -= share
            if drawn < 0:
                return name  # type: ignore[return-value]
        return "ok"

    def seconds(self, documents: int) -> float:
        return self.latency + self.per_document * documents


def ideal(behaviour: Behaviour, calls: int, at_a_time: int, draws: int = 200) -> float:
    """Seconds for *calls* by callers who wait as long as a 429 asks, send anything else again at once, and waste no time.

    Who meets which fault depends on who comes first, and the last wait may stand alone: the median of *draws* courses.
    """
    fates = cache(behaviour.fate)
    return statistics.median(_course(behaviour, fates, calls, at_a_time, random.Random(draw)) for draw in range(draws))


def _course(behaviour: Behaviour, fates: Callable[[int], Fate], calls: int, at_a_time: int, draw: random.Random) -> float:
    waits = {"ok": behaviour.latency, "slow": behaviour.slow, "429": behaviour.retry_after, "503": 0.0, "reset": 0.0}
    callers = [
        draw.random() * 1e-3 for _ in range(min(calls, at_a_time))
    ]  # each heap entry: when a caller sends its next request
    done = number = 0
    ended = 0.0
    while callers:
        now = heapq.heappop(callers)
        fate = fates(number)
        number += 1
        until = now + waits[fate] + draw.random() * 1e-3
        if fate in ("ok", "slow"):
            done += 1
            ended = max(ended, until)
        if done + len(callers) < calls or fate not in ("ok", "slow"):
            heapq.heappush(callers, until)
    return ended
