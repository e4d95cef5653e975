"""Several rerankers rank at the same time, and their rankings become one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import ClassVar, Generic, Literal, TypeAlias, cast

from rerankkit._checks import check_choice, check_integer, is_number, shown
from rerankkit._degrading import NOTICES, OUTAGES, in_given_order
from rerankkit._io import IO, Job
from rerankkit._ordering import in_order
from rerankkit._rendering import is_empty
from rerankkit._turns import call, estimate_of, failed, label_of, share_of, tell, told
from rerankkit.errors import DeadlineExceededError, InvalidRequestError, RerankError
from rerankkit.identity import CacheIdentity
from rerankkit.money import FREE, Estimate, sum_of_costs
from rerankkit.reranker import BaseReranker, Reranker
from rerankkit.resilience._fusing import by_rank, by_score, fused, is_unranked
from rerankkit.resilience.passthrough import Passthrough
from rerankkit.resilience.wrapper import Wrapper
from rerankkit.types import Attempt, CacheUse, D, Document, RankedDocument, RerankRequest, RerankResponse, Status, Usage

MEMBERS_SHARE = 0.95  # of the time that is left: the rest is for what comes of the answers
PATIENCE = 0.975  # of the same: who does not keep to the time it was given is left behind
MOST_K = 1_000_000  # beyond the longest list, where all ranks weigh the same
MOST_WEIGHT = 1e9  # only the weights' proportions matter

Turn: TypeAlias = RerankResponse[D] | RerankError


class Ensemble(Wrapper):
    """Asks all its rerankers at the same time and fuses their rankings: ``Ensemble(Client(Cohere()), Client(Voyage()))``.

    By reciprocal rank fusion a document's score is the sum of ``weight / (k + rank)`` over the rankings, which need no
    common scale; equal scores have equal ranks. By ``"scores"`` it is the sum of ``weight * score``, the scores of each
    ranking spread from 0.0 to 1.0 (all 0.5 where they are equal). Either way the sum orders this one list and means nothing
    else: no threshold holds for it. Who gave a document no score adds nothing to it. Who keeps the given order, such as
    `Passthrough`, ranks by position; if all do, so does the answer, without scores.

    While at least `least` answer, outages of the others are told in the answer (``status="partial"``, `attempts`); who has
    not answered in 95 % of the time counts as one. A bad request or a bad key is raised at once.

    Args:
        rerankers: At least one.
        weights: One for each reranker, above 0; None: all 1.0.
        method: ``"rrf"`` goes by ranks, ``"scores"`` by scores.
        k: Of reciprocal rank fusion: the higher, the less the first ranks stand out.
        least: How many must answer.
        timeout: Seconds for a call as a whole; None: as long as the most patient of them.

    Raises:
        InvalidRequestError: There is no reranker, or an argument is out of range.
    """

    def __init__(
        self,
        *rerankers: Reranker,
        weights: Sequence[float] | None = None,
        method: Literal["rrf", "scores"] = "rrf",
        k: int = 60,
        least: int = 1,
        timeout: float | None = None,
    ) -> None:
        if not rerankers:
            raise InvalidRequestError("Ensemble needs at least one reranker, such as Client(Cohere())")
        super().__init__(*rerankers, timeout=timeout)
        self._weights = _checked_weights(weights, len(rerankers))
        by_place = partial(by_rank, k=check_integer("k", k, 0, MOST_K))
        self._value = by_place if check_choice("method", method, ("rrf", "scores")) == "rrf" else by_score
        self._least = check_integer("least", least, 1, len(rerankers), "there are no more rerankers than that")

    @property
    def label(self) -> str:
        """As its answers say."""
        return "ensemble"

    def _estimate(self, request: RerankRequest[D]) -> Estimate:
        """That of all its rerankers together."""
        return sum((estimate_of(reranker, request) for reranker in self.rerankers), FREE)

    async def _rerank(self, io: IO, request: RerankRequest[D]) -> RerankResponse[D]:
        turns = await _Round(io, self.rerankers, request).turns()
        try:
            if self._is_enough(turns):
                return self._whole(request, turns)
            raise _too_few(turns)
        finally:
            turns.clear()  # errors and the frames of their tracebacks would keep each other alive, and the documents

    def _is_enough(self, turns: Sequence[Turn[D]]) -> bool:
        """Whether as many answered as have to; who did not is told in the log."""
        failures = [(who, turn) for who, turn in zip(self.rerankers, turns, strict=True) if isinstance(turn, RerankError)]
        is_enough = len(turns) - len(failures) >= self._least
        for reranker, error in failures:
            NOTICES.tell(label_of(reranker), error, "others rank" if is_enough else "nobody ranks")
        return is_enough

    def _whole(self, request: RerankRequest[D], turns: Sequence[Turn[D]]) -> RerankResponse[D]:
        """The rankings that there are as one; nobody's, if nobody ranked."""
        weighted = [
            (weight, turn) for weight, turn in zip(self._weights, turns, strict=True) if not isinstance(turn, RerankError)
        ]
        responses = [response for _, response in weighted]
        if all(map(is_unranked, responses)):
            found = in_given_order(request)
        else:
            found = RerankResponse(fused(request, weighted, self._value), self.label, status=self._status(turns))
        return replace(
            found,
            usage=sum((response.usage for response in responses), Usage()),
            request_ids=tuple(each for response in responses for each in response.request_ids),
            warnings=tuple(each for response in responses for each in response.warnings),
            attempts=_attempts(turns),
            cost=sum_of_costs(*(response.cost for response in responses)),
            cache=_cache_use([response.cache for response in responses if response.cache is not None]),
        )

    def _status(self, turns: Sequence[Turn[D]]) -> Status:
        """Whether all ranked who were to; a `Passthrough` was not."""
        states = [
            "failed" if isinstance(turn, RerankError) else turn.status
            for reranker, turn in zip(self.rerankers, turns, strict=True)
            if not isinstance(reranker, Passthrough)
        ]
        if all(state == "ok" for state in states):
            return "ok"
        return "partial" if any(state in {"ok", "partial"} for state in states) else "degraded"


class FirstStage(BaseReranker):
    """Ranks by the first-stage score that documents bring along (`Document.score`), at once and for nothing.

    ``Ensemble(Client(Cohere()), FirstStage(), weights=(0.8, 0.2))`` blends the two.
    """

    share: ClassVar[float] = 0.0

    def __init__(self) -> None:
        """Nothing to set."""

    def __repr__(self) -> str:
        return "FirstStage()"

    @property
    def label(self) -> str:
        """As its answers say."""
        return "first_stage"

    def cache_identity(self) -> CacheIdentity:
        """For what holds it: nobody's, as first-stage scores are part of the documents."""
        return CacheIdentity(b'"first_stage"', pointwise=True)

    def _estimate(self, request: RerankRequest[D]) -> Estimate:
        return FREE

    async def _rerank(self, io: IO, request: RerankRequest[D]) -> RerankResponse[D]:
        found = (
            RankedDocument(index, None, document, skipped="blank")
            if is_empty(item)
            else RankedDocument(index, _first_stage_score(index, item), document)
            for index, (document, item) in enumerate(zip(request.documents, request.items, strict=True))
        )
        return RerankResponse(in_order(found)[: request.top_n], provider=self.label, cost=0.0)


def _first_stage_score(index: int, item: str | Document) -> float:
    score = item.score if isinstance(item, Document) else None
    if score is None or not math.isfinite(score):
        raise InvalidRequestError(
            f"documents[{index}] has no finite first-stage score ({score}): pass Document(text, score=...) or a mapping with "
            "a 'score' number, or blend with the given order by Passthrough() instead"
        )
    return float(score)


class _Round(Generic[D]):
    """One call's turns, which all begin at the same time.

    Those that need no time come before, so that what they refuse is refused before anything is sent.
    """

    def __init__(self, io: IO, rerankers: Sequence[Reranker], request: RerankRequest[D]) -> None:
        self._io = io
        self._rerankers = rerankers
        self._seconds = request.deadline.remaining()
        deadline = request.deadline.sooner(self._seconds * MEMBERS_SHARE)
        self._request = replace(request, top_n=None, deadline=deadline)
        self._found: dict[int, Turn[D]] = {}

    async def turns(self) -> list[Turn[D]]:
        """Everybody's answer or outage, in order."""
        try:
            await self._ask_all()
        except RerankError as error:
            tell(error, (*_attempts(self._found_so_far().values()), *error.history))
            raise
        found = self._found_so_far()
        self._found.clear()  # errors and the frames of their tracebacks would keep each other alive, and the documents
        return [found[place] if place in found else self._late(place) for place in range(len(self._rerankers))]

    async def _ask_all(self) -> None:
        slow: list[int] = []
        for place, reranker in enumerate(self._rerankers):
            if share_of(reranker):
                slow.append(place)
            else:
                await self._ask(place)
        if slow:
            jobs: list[Job[None]] = [partial(self._ask_together, slow), self._run_out]
            await self._io.race(jobs, ends=lambda _: True)

    async def _ask_together(self, places: Sequence[int]) -> None:
        await self._io.gather([partial(self._ask, place) for place in places], len(places))

    async def _ask(self, place: int) -> None:
        try:
            self._found[place] = await call(self._io, self._rerankers[place], self._request)
        except OUTAGES as error:
            self._found[place] = error

    async def _run_out(self) -> None:
        await self._io.sleep(self._seconds * PATIENCE)

    def _found_so_far(self) -> dict[int, Turn[D]]:
        """A copy, in order: who was left behind may still come."""
        return dict(sorted(self._found.copy().items()))

    def _late(self, place: int) -> RerankError:
        who = label_of(self._rerankers[place])
        seconds = self._seconds * PATIENCE
        error = DeadlineExceededError(f"{who} did not answer within {seconds:g} s; allow more with timeout=")
        tell(error, [failed(who, seconds, error)])
        return error


def _checked_weights(weights: object, count: int) -> tuple[float, ...]:
    if weights is None:
        return (1.0,) * count
    values = tuple(cast("Sequence[object]", weights)) if isinstance(weights, list | tuple) else (weights,)
    found = tuple(float(value) for value in values if is_number(value) and 0 < value <= MOST_WEIGHT)
    if len(found) != count or len(values) != count:
        raise InvalidRequestError(
            f"weights must be a list of {count} numbers, one for each reranker, above 0 and at most {MOST_WEIGHT:g}, "
            f"got {shown(values)}; leave out the reranker that is to count for nothing"
        )
    return found


def _attempts(turns: Iterable[Turn[D]]) -> tuple[Attempt, ...]:
    """Everybody's turns, in order."""
    return tuple(attempt for turn in turns for attempt in (turn.history if isinstance(turn, RerankError) else turn.attempts))


def _too_few(turns: Sequence[Turn[D]]) -> RerankError:
    """The first failure, which says what became of the others."""
    first, *others = (turn for turn in turns if isinstance(turn, RerankError))
    tell(first, _attempts(turns), [f"Besides: {told(error)}" for error in others])
    return first


def _cache_use(uses: Sequence[CacheUse]) -> CacheUse | None:
    if not uses:
        return None
    saved = sum_of_costs(*(use.saved for use in uses))
    return CacheUse(sum(use.hits for use in uses), sum(use.misses for use in uses), saved)
