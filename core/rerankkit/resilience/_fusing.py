"""Several rankings of the same documents become one."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from rerankkit._ordering import first_reason, in_order
from rerankkit._rendering import is_empty
from rerankkit.types import D, Document, RankedDocument, RerankRequest, RerankResponse

Values: TypeAlias = Mapping[int, float]
"""What one ranking says of documents, by their position in the caller's list; higher is better."""


def by_rank(scores: Values, k: int) -> Values:
    """``1 / (k + rank)``: reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009).

    Equal scores have equal ranks, the best of theirs.
    """
    ranks: dict[float, int] = {}
    for rank, score in enumerate(sorted(scores.values(), reverse=True), 1):
        ranks.setdefault(score, rank)
    return {index: 1 / (k + ranks[score]) for index, score in scores.items()}


def by_score(scores: Values) -> Values:
    """From 0.0 for the worst score of this ranking to 1.0 for the best; equal ones say nothing, and are 0.5."""
    low, high = min(scores.values(), default=0.0), max(scores.values(), default=0.0)
    if low == high:
        return dict.fromkeys(scores, 0.5)
    half = high / 2 - low / 2  # the whole of it may be more than a float holds
    return {index: min(1.0, (score / 2 - low / 2) / half) if half else 0.5 for index, score in scores.items()}


def fused(
    request: RerankRequest[D], rankings: Sequence[tuple[float, RerankResponse[D]]], value: Callable[[Values], Values]
) -> tuple[RankedDocument[D], ...]:
    """One ranking of all documents in *rankings*, each by its weight, its scores made comparable by *value*."""
    shares: defaultdict[int, list[float]] = defaultdict(list)
    found: defaultdict[int, list[RankedDocument[D]]] = defaultdict(list)
    for weight, response in rankings:
        for index, points in value(_scores(request.items, response)).items():
            shares[index].append(weight * points)
        for result in response:
            found[result.index].append(result)
    return in_order(_one(request.documents[index], shares[index], found[index]) for index in found)[: request.top_n]


def is_unranked(response: RerankResponse[D]) -> bool:
    """Whether its documents only stand as they were given."""
    return any(result.skipped == "not_ranked" for result in response) and not any(map(_has_score, response))


def _scores(items: Sequence[str | Document], response: RerankResponse[D]) -> Values:
    """What a ranking says: its scores; without any, the order in which it left the documents that hold something."""
    if is_unranked(response):
        return {result.index: -float(place) for place, result in enumerate(response) if not is_empty(items[result.index])}
    return {result.index: result.relevance_score for result in response if result.relevance_score is not None}


def _has_score(result: RankedDocument[D]) -> bool:
    return result.relevance_score is not None


def _one(document: D, shares: Sequence[float], results: Sequence[RankedDocument[D]]) -> RankedDocument[D]:
    """What all said of a document; the sum does not depend on who said it first, so that equals stay equal."""
    spans = next((result.spans for result in results if result.spans), ())
    if shares:
        return RankedDocument(results[0].index, math.fsum(shares), document, spans)
    return RankedDocument(results[0].index, None, document, spans, first_reason(result.skipped for result in results))
