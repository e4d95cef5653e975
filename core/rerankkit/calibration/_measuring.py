"""The scores that a reranker gives to judged pairs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias, cast

from rerankkit._checks import as_items, check_flag, check_integer, check_query, shown
from rerankkit._io import IO
from rerankkit._turns import call
from rerankkit.deadline import Deadline
from rerankkit.errors import InvalidRequestError
from rerankkit.reranker import BaseReranker, Reranker
from rerankkit.types import DocumentLike, RerankRequest, RerankResponse, label

LEAST_PAIRS = 10  # two numbers are learned from them
LEAST_OF_EACH = 3

Judged: TypeAlias = tuple[str, DocumentLike, bool]
"""A query, a document, and whether it is relevant."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Judged scores of one model."""

    judged: Sequence[tuple[float, bool]]
    provider: str
    model: str | None


def check_enough(labels: Sequence[bool]) -> None:
    """Refuse to learn from hardly anything.

    Raises:
        InvalidRequestError: There is hardly anything.
    """
    relevant = sum(labels)
    if len(labels) < LEAST_PAIRS or min(relevant, len(labels) - relevant) < LEAST_OF_EACH:
        raise InvalidRequestError(
            f"calibrating needs at least {LEAST_PAIRS} judged pairs, {LEAST_OF_EACH} of them relevant and {LEAST_OF_EACH} not; "
            f"got {len(labels)}, {relevant} of them relevant: judge more"
        )


async def measured(io: IO, reranker: Reranker, judged: Iterable[Judged], concurrency: int) -> Measured:
    """The scores of *judged*, in one call for each query; of pairs that get none, nothing."""
    by_query: defaultdict[str, list[tuple[DocumentLike, bool]]] = defaultdict(list)
    for place, pair in enumerate(judged):
        query, document, is_relevant = _checked(place, pair)
        by_query[query].append((document, is_relevant))
    check_enough([is_relevant for pairs in by_query.values() for _, is_relevant in pairs])
    jobs = [partial(_response, io, reranker, query, [document for document, _ in pairs]) for query, pairs in by_query.items()]
    responses = await io.gather(jobs, check_integer("concurrency", concurrency, 1, None))
    provider, model = _only_model(responses)
    scores = [
        (result.relevance_score, pairs[result.index][1])
        for pairs, response in zip(by_query.values(), responses, strict=True)
        for result in response
        if result.relevance_score is not None
    ]
    return Measured(scores, provider, model)


async def _response(io: IO, reranker: Reranker, query: str, documents: Sequence[DocumentLike]) -> RerankResponse[DocumentLike]:
    """One call, whose time begins when its turn comes."""
    timeout = reranker.timeout if isinstance(reranker, BaseReranker) else BaseReranker.timeout
    return await call(io, reranker, RerankRequest(query, tuple(documents), as_items(documents), None, Deadline(timeout)))


def _checked(place: int, pair: object) -> Judged:
    parts = tuple(cast("Sequence[object]", pair)) if isinstance(pair, tuple | list) else (pair,)
    if len(parts) != 3:  # noqa: PLR2004 -- query, document, judgement
        raise InvalidRequestError(
            f"judged[{place}] must be a query, a document and whether it is relevant, got {shown(parts)[:100]}"
        )
    query, document, is_relevant = parts
    as_items([cast("DocumentLike", document)])
    return check_query(query), cast("DocumentLike", document), check_flag(f"judged[{place}][2]", is_relevant)


def _only_model(responses: Sequence[RerankResponse[DocumentLike]]) -> tuple[str, str | None]:
    """The one that served all calls, as the first choice."""
    status = next((response.status for response in responses if response.status != "ok"), None)
    if status is not None:
        raise InvalidRequestError(
            f"an answer was {status}, so that its scores say nothing of the first choice: measure with that one alone"
        )
    served = list(dict.fromkeys((response.provider, response.model) for response in responses))
    if len(served) > 1:
        names = " and ".join(label(*each) for each in served)
        raise InvalidRequestError(f"{names} served by turns, and their scores do not compare: measure with one model alone")
    return served[0]
