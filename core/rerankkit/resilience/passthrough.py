"""Nobody ranks: documents keep the order in which they were given."""

from __future__ import annotations

from typing import ClassVar

from rerankkit._degrading import in_given_order
from rerankkit._io import IO
from rerankkit.identity import CacheIdentity
from rerankkit.money import FREE, Estimate
from rerankkit.reranker import BaseReranker
from rerankkit.types import D, RerankRequest, RerankResponse


class Passthrough(BaseReranker):
    """Keeps the given order, without scores and at once: the last link of a `Fallback`.

    Its answers say ``status="degraded"``, and of each document ``skipped="not_ranked"``.
    """

    share: ClassVar[float] = 0.0

    def __init__(self) -> None:
        """Nothing to set."""

    def __repr__(self) -> str:
        return "Passthrough()"

    def cache_identity(self) -> CacheIdentity:
        """For what holds it: its own answers are degraded, and never kept."""
        return CacheIdentity(b'"passthrough"')

    async def _rerank(self, io: IO, request: RerankRequest[D]) -> RerankResponse[D]:
        return in_given_order(request)

    def _estimate(self, request: RerankRequest[D]) -> Estimate:
        return FREE
