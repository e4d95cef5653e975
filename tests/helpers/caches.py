"""What the tests of `Cached` share: rerankers that can be held up, and ways to see who waits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from rerankkit import DeadlineExceededError, RerankRequest, RerankResponse
from rerankkit._io import IO
from rerankkit.identity import CacheIdentity
from rerankkit.money import Estimate
from rerankkit.reranker import BaseReranker
from rerankkit.resilience.cached import Cached
from rerankkit.testing import FakeReranker


def by_text(query: str, text: str) -> float:
    """A score that says which pair it belongs to."""
    return (sum(map(ord, query)) * 31 + sum(map(ord, text)) * 7) % 101 / 8


class Scorer(FakeReranker):
    """Pointwise; each call waits while the gate is shut, and may be another model's, or cost something.

    Attributes:
        price: Dollars for a document.
    """

    def __init__(self, scores: Any = by_text, *, served: str = "fake", price: float | None = None, **options: Any) -> None:
        super().__init__(scores, **options)
        self.gate = threading.Event()
        self.gate.set()
        self.served = served
        self.price = price

    @property
    def sent(self) -> list[list[str]]:
        """The texts of each call."""
        return [list(call.texts) for call in self.calls]

    async def _wait(self, io: IO, request: RerankRequest[Any]) -> None:
        while not self.gate.is_set():
            if not request.deadline.remaining():
                raise DeadlineExceededError("the gate was shut")
            await io.sleep(0.002)
        await super()._wait(io, request)

    async def _rerank(self, io: IO, request: RerankRequest[Any]) -> RerankResponse[Any]:
        response = await super()._rerank(io, request)
        cost = None if self.price is None else self.price * len(request.items)
        return replace(response, model=self.served, cost=cost)

    def _estimate(self, request: RerankRequest[Any]) -> Estimate:
        return Estimate(cost=None if self.price is None else self.price * len(request.items))


class FailOpen(BaseReranker):
    """Keeps scores; answers failures of the reranker it holds as it was told."""

    def __init__(self, reranker: BaseReranker, instead: Callable[[RerankRequest[Any]], RerankResponse[Any]]) -> None:
        self.reranker = reranker
        self.instead = instead

    def cache_identity(self) -> CacheIdentity | None:
        return self.reranker.cache_identity()

    async def _rerank(self, io: IO, request: RerankRequest[Any]) -> RerankResponse[Any]:
        try:
            return await self.reranker._rerank(io, request)
        except ConnectionError:
            return self.instead(request)


def waiting(cached: Cached) -> int:
    """How many calls wait for another's."""
    flights = set(cached._flights._by_key.values())
    return sum(len(flight.future._done_callbacks) for flight in flights)


def in_threads(count: int, work: Callable[[], Any]) -> tuple[ThreadPoolExecutor, list[Any]]:
    executor = ThreadPoolExecutor(count)
    return executor, [executor.submit(work) for _ in range(count)]


def shape(response: RerankResponse[Any]) -> Sequence[Any]:
    """What a caller sees of an answer, how it came about apart."""
    return (*response.results, response.provider, response.model, response.status, response.warnings)
