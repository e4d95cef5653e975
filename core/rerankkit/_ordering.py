"""The one order of results: best first, equal scores as they were given, then what has no score, by the reason why."""

from __future__ import annotations

from collections.abc import Iterable

from rerankkit._engine import SKIPPED_ORDER
from rerankkit.types import D, RankedDocument, Skipped


def in_order(results: Iterable[RankedDocument[D]]) -> tuple[RankedDocument[D], ...]:
    """*results* as an answer has them."""
    return tuple(sorted(results, key=_place))


def _place(result: RankedDocument[D]) -> tuple[int, float, int]:
    if result.relevance_score is None:
        return (1 + SKIPPED_ORDER.index(result.skipped or SKIPPED_ORDER[0]), 0.0, result.index)
    return (0, -result.relevance_score, result.index)


def first_reason(reasons: Iterable[Skipped | None]) -> Skipped:
    """Of several reasons why a document has no score the one that comes first in an answer."""
    given = set(reasons)
    for reason in SKIPPED_ORDER:
        if reason in given:
            return reason
    return "no_score"
