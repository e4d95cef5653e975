"""A reranker without a service: it scores as a test says, fails when a test says, and keeps every call."""

from __future__ import annotations

import math
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from rerankkit._checks import check_integer, check_timeout, is_blank, is_number
from rerankkit._io import IO
from rerankkit._rendering import ranked_text
from rerankkit._turns import copied
from rerankkit.errors import DeadlineExceededError, InvalidRequestError
from rerankkit.identity import CacheIdentity
from rerankkit.provider import Content, Prepared
from rerankkit.reranker import BaseReranker
from rerankkit.types import D, Document, DocumentLike, RankedDocument, RerankRequest, RerankResponse, Usage

Scores: TypeAlias = Callable[[str, str], float] | Mapping[str, float]


@dataclass(frozen=True, slots=True)
class FakeCall:
    """One call.

    Attributes:
        documents: The caller's own objects.
        texts: What of them was ranked.
        timeout: Seconds the call was given.
    """

    query: str
    documents: tuple[DocumentLike, ...]
    texts: tuple[str, ...]
    top_n: int | None
    timeout: float


class FakeReranker(BaseReranker):
    """A `Reranker` for tests, for both colours.

    Args:
        scores: A score for each query and text: a function, or a table by text (what is not in it gets 0.0). None: the
            order that was given.
        latency: Seconds each call takes, within its deadline.
        timeout: As for any reranker.

    Each object is a service of its own to a cache, pointwise if it has `scores`.

    Attributes:
        calls: All calls so far, oldest first, failed ones among them.

    Raises:
        InvalidRequestError: `scores` is neither a function nor a table, or `latency` is negative.
    """

    def __init__(self, scores: Scores | None = None, *, latency: float = 0.0, timeout: float = 30.0) -> None:
        if scores is not None and not callable(scores) and not isinstance(scores, Mapping):
            raise InvalidRequestError(f"scores must be a function of query and text, or a table by text, got {scores!r}")
        if not is_number(latency) or not 0 <= latency < math.inf:
            raise InvalidRequestError(f"latency must be a finite number of seconds, at least 0, got {latency!r}")
        self.scores = scores
        self.latency = latency
        self.timeout = check_timeout(timeout)
        self.calls: list[FakeCall] = []
        self._failures: deque[Exception] = deque()
        self._name = uuid.uuid4().hex.encode()

    @property
    def label(self) -> str:
        """As its responses say."""
        return "fake:fake"

    def __repr__(self) -> str:
        return f"FakeReranker({len(self.calls)} calls)"

    def cache_identity(self) -> CacheIdentity:
        """Its own, which no other object shares."""
        return CacheIdentity(self._name, "fake", self.scores is not None, _prepared)

    def fail(self, error: Exception, *, times: int = 1) -> None:
        """Have the next *times* calls raise *error*, after those that are to fail already; all but the first a copy of it."""
        if not isinstance(error, Exception):
            raise InvalidRequestError(f"error must be an exception, such as ServerError('no'), got {error!r}")
        more = check_integer("times", times, 1, None) - 1
        self._failures.extend([error, *(copied(error) or error for _ in range(more))])

    async def _rerank(self, io: IO, request: RerankRequest[D]) -> RerankResponse[D]:
        texts = tuple(ranked_text(index, item, None) for index, item in enumerate(request.items))
        self.calls.append(FakeCall(request.query, request.documents, texts, request.top_n, request.deadline.seconds))
        await self._wait(io, request)
        if self._failures:
            raise self._failures.popleft()
        ranked = [index for index, text in enumerate(texts) if not is_blank(text)]
        scores = {index: self._checked_score(request.query, texts, index) for index in ranked}
        found = [
            RankedDocument(index, scores[index], request.documents[index])
            for index in sorted(ranked, key=lambda index: (-scores[index], index))
        ]
        found += [
            RankedDocument(index, None, request.documents[index], skipped="blank")
            for index in range(len(texts))
            if index not in scores
        ]
        return RerankResponse(tuple(found[: request.top_n]), provider="fake", model="fake", usage=Usage(requests=1))

    async def _wait(self, io: IO, request: RerankRequest[D]) -> None:
        """Take the time this reranker takes.

        Raises:
            DeadlineExceededError: There is not so much.
        """
        if not self.latency:
            return
        in_time = request.deadline.allows(self.latency)
        await io.sleep(min(self.latency, request.deadline.remaining()))
        if not in_time:
            raise DeadlineExceededError(f"the fake did not answer within {request.deadline.seconds:g} s", provider="fake")

    def _checked_score(self, query: str, texts: Sequence[str], index: int) -> float:
        found: object = self._score(query, texts, index)
        if not is_number(found) or not math.isfinite(found):
            raise InvalidRequestError(f"scores must give a finite number for each text, got {found!r} for {texts[index]!r}")
        return float(found)

    def _score(self, query: str, texts: Sequence[str], index: int) -> float:
        if self.scores is None:
            return (len(texts) - index) / len(texts)
        return self.scores(query, texts[index]) if callable(self.scores) else self.scores.get(texts[index], 0.0)


def _prepared(items: Sequence[str | Document]) -> Prepared:
    texts = [ranked_text(index, item, None) for index, item in enumerate(items)]
    contents: dict[int, Content] = {index: text for index, text in enumerate(texts) if not is_blank(text)}
    return Prepared(contents, {index: "blank" for index in range(len(texts)) if index not in contents})
