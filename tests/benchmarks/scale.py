"""How much of each scenario is run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """Numbers of calls, documents and rounds; times in seconds, sizes in characters.

    Attributes:
        rounds: Of all scenarios that do not say otherwise.
        patience: After so many seconds of a scenario a peer takes no further turn in it.
        sync: Calls of a turn, by the number of documents.
        growth: Numbers of documents.
        everyone: Also who is not in a quick run, and each in both colours where it can be.
    """

    name: str
    rounds: int
    patience: float
    sync: Mapping[int, int]
    growth: Sequence[int]
    cold_rounds: int
    size: int = 1_000
    burst: tuple[int, int] = (200, 50)  # calls, documents
    burst_latency: float = 0.05
    over_limit: int = 3_000  # documents
    per_document: float = 0.0005
    faults: int = 500  # calls
    seeds: Sequence[int] = (1, 2, 3)
    tail: int = 400  # calls
    duplicates: int = 200  # calls
    memory: tuple[int, int] = (1_000, 10_000)  # documents, characters
    everyone: bool = True


FULL = Scale(
    name="full",
    rounds=15,
    patience=40.0,
    sync={10: 100, 100: 50, 1_000: 12},
    growth=(1, 10, 100, 1_000, 10_000),
    cold_rounds=9,
)
QUICK = Scale(
    name="quick",
    rounds=9,
    patience=1.0,
    sync={10: 20, 100: 15, 1_000: 5},
    growth=(1, 10, 100, 1_000, 10_000),
    cold_rounds=3,
    tail=150,
    duplicates=100,
    everyone=False,
)
