"""Calls whose answers show whose they are: the scores are those of this query and these texts, and of no others."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from helpers.ways import Result, Way
from integration.reliability.fault_server import score_of
from rerankkit import Reranker, RerankResponse

TEXTS = ("the ferry", "the bus", "the train")


def ranking(query: str, texts: Sequence[str] = TEXTS) -> list[Result]:
    """The right order of *texts*, with their scores."""
    return sorted(((index, score_of(query, text)) for index, text in enumerate(texts)), key=lambda pair: -pair[1])


def is_right(response: RerankResponse[str], query: str, texts: Sequence[str] = TEXTS) -> bool:
    """Whether it answers this query, each text once and at its place."""
    found = [(result.index, result.relevance_score) for result in response]
    return found == ranking(query, texts) and all(result.document == texts[result.index] for result in response)


def is_answered(reranker: Reranker, query: str) -> bool:
    """Whether a call brings the right answer."""
    return is_right(reranker.rerank(query, TEXTS), query)


def is_answered_on(way: Way, reranker: Reranker, query: str) -> bool:
    """The same through a framework."""
    return way(reranker, query, TEXTS) == ranking(query)


def check(reranker: Reranker, query: str) -> None:
    assert is_answered(reranker, query), query


async def acheck(reranker: Reranker, query: str) -> None:
    assert is_right(await reranker.arerank(query, TEXTS), query), query


async def acheck_all(reranker: Reranker, queries: Iterable[str]) -> None:
    """All at once."""
    await asyncio.gather(*(acheck(reranker, query) for query in queries))


def check_way(way: Way, reranker: Reranker, query: str) -> None:
    assert is_answered_on(way, reranker, query), query


def queries(name: str, count: int) -> list[str]:
    """Queries that nobody else asks."""
    return [f"{name} {number}" for number in range(count)]
