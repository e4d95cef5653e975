"""Many rounds become one figure."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

Sample = dict[str, Any]


def quietest(samples: Sequence[Sample], key: str) -> list[Sample]:
    """The third of the rounds that was the fastest: in the others something else was at work on the machine."""
    return sorted(samples, key=lambda sample: sample[key])[: -(-len(samples) // 3)]


def medians(samples: Sequence[Any]) -> Any:
    """Of each figure, over the rounds; what failed is added up."""
    first = samples[0]
    if isinstance(first, Mapping):
        return {
            name: added([sample[name] for sample in samples])
            if name == "failures"
            else medians([sample[name] for sample in samples])
            for name in first
        }
    return statistics.median(samples)


def added(failures: Sequence[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in failures:
        total.update(one)
    return dict(total)
