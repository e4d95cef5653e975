"""When one reranker fails, the next one ranks."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from rerankkit._checks import check_error_types
from rerankkit._degrading import NOTICES, OUTAGES
from rerankkit._io import IO
from rerankkit._turns import call, history_of, label_of, share_of, tell
from rerankkit.errors import InvalidRequestError, RerankError
from rerankkit.reranker import Reranker
from rerankkit.resilience.wrapper import Wrapper
from rerankkit.types import D, RerankRequest, RerankResponse


class Fallback(Wrapper):
    """Asks one reranker after another until one answers: ``Fallback(Client(Cohere()), Client(Voyage()), Passthrough())``.

    All share the caller's deadline: each may take an equal share of what is left when its turn comes, and the last one
    all of it. The answer of any but the first says ``status="degraded"``; its scores are on another scale.

    Args:
        rerankers: In the order in which they are asked; at least one.
        on: The errors after which the next one is asked. By default what happens to a call that is right: outages, rate
            limits, deadlines, wrong answers. A bad request or a bad key is raised at once.
        timeout: Seconds for a call as a whole; None: as long as the most patient of them.

    Raises:
        InvalidRequestError: There is no reranker, or `on` holds something else than error classes.
    """

    def __init__(self, *rerankers: Reranker, on: Collection[type[RerankError]] = OUTAGES, timeout: float | None = None) -> None:
        if not rerankers:
            raise InvalidRequestError("Fallback needs at least one reranker, such as Client(Cohere())")
        super().__init__(*rerankers, timeout=timeout)
        self._on = check_error_types("on", on)

    async def _rerank(self, io: IO, request: RerankRequest[D]) -> RerankResponse[D]:
        failures: list[RerankError] = []
        try:
            return await self._first_answer(io, request, failures)
        finally:
            failures.clear()  # errors and the frames of their tracebacks would keep each other alive, and the documents

    async def _first_answer(self, io: IO, request: RerankRequest[D], failures: list[RerankError]) -> RerankResponse[D]:
        for position, reranker in enumerate(self.rerankers):
            try:
                response = await call(io, reranker, self._in_its_share(request, position))
            except RerankError as error:
                failures.append(error)
                if not isinstance(error, self._on):
                    tell(error, history_of(failures))
                    raise
                NOTICES.tell(label_of(reranker), error, "others rank" if position + 1 < len(self.rerankers) else "nobody ranks")
            else:
                return _after(failures, response)
        raise _all_failed(failures)

    def _in_its_share(self, request: RerankRequest[D], position: int) -> RerankRequest[D]:
        """*request* with the deadline of the reranker at *position*: its share of what is left."""
        own, *others = map(share_of, self.rerankers[position:])
        if not sum(others):
            return request
        return replace(request, deadline=request.deadline.sooner(request.deadline.remaining() * own / (own + sum(others))))


def _after(failures: Sequence[RerankError], response: RerankResponse[D]) -> RerankResponse[D]:
    """*response*, and who failed before it."""
    if not failures:
        return response
    return replace(response, status="degraded", attempts=(*history_of(failures), *response.attempts))


def _all_failed(failures: Sequence[RerankError]) -> RerankError:
    """The first failure, which says what became of the others."""
    first = failures[0]
    turns = history_of(failures)
    tell(first, turns, [f"Then {turn.reranker} failed: {turn.error}" for turn in turns[1:]])
    return first
