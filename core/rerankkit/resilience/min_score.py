"""What is not relevant enough is left out."""

from __future__ import annotations

from dataclasses import replace

from rerankkit._io import IO
from rerankkit._turns import call, tell
from rerankkit.calibration import Threshold, check_finite
from rerankkit.errors import InvalidRequestError
from rerankkit.reranker import Reranker
from rerankkit.resilience.wrapper import Wrapper
from rerankkit.types import D, RerankRequest, RerankResponse


class MinScore(Wrapper):
    """Leaves out documents whose score is lower, or that have none: ``MinScore(Client(Cohere()), 0.3)``.

    An answer that is degraded or partial is left as it is, and says so: its scores are on another scale, or there are none,
    and an outage would otherwise look like a question without an answer.

    Args:
        reranker: Who ranks.
        min_score: A score, or a `Threshold`, which refuses the scores of any model but its own.
        timeout: Seconds for a call as a whole; None: as long as the reranker has.

    Raises:
        InvalidRequestError: `min_score` is no finite number; at a call, another model served than a `Threshold` is for.
    """

    def __init__(self, reranker: Reranker, min_score: float | Threshold, *, timeout: float | None = None) -> None:
        super().__init__(reranker, timeout=timeout)
        self.min_score = min_score if isinstance(min_score, Threshold) else check_finite("min_score", min_score)

    async def _rerank(self, io: IO, request: RerankRequest[D]) -> RerankResponse[D]:
        response = await call(io, self.rerankers[0], request)  # best first, so that top_n may come before or after
        if response.status != "ok":
            told = f"min_score was not applied: the answer is {response.status}: its scores, if any, are on another scale"
            return replace(response, warnings=(*response.warnings, told))
        least = self._least(response)
        kept = [result for result in response if result.relevance_score is not None and result.relevance_score >= least]
        return replace(response, results=tuple(kept))

    def _least(self, response: RerankResponse[D]) -> float:
        if not isinstance(self.min_score, Threshold):
            return self.min_score
        try:
            self.min_score.check(response.provider, response.model)
        except InvalidRequestError as error:
            tell(error, response.attempts)
            raise
        return self.min_score.value
