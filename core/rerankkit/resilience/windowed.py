"""Long documents are ranked by their passages."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal, cast

from rerankkit._checks import check_choice, check_integer, shown
from rerankkit._io import IO
from rerankkit._ordering import first_reason, in_order
from rerankkit._tokens import Tokenizer, most_tokens
from rerankkit._turns import call, estimate_of
from rerankkit.errors import DeadlineExceededError, InvalidRequestError
from rerankkit.money import Estimate
from rerankkit.reranker import Reranker
from rerankkit.resilience._windows.cutting import Window, cut_all, is_left_whole, long_text
from rerankkit.resilience._windows.windows import first_window, windows
from rerankkit.resilience.wrapper import Wrapper
from rerankkit.types import D, Document, RankedDocument, RerankRequest, RerankResponse, Span

LEAST_TOKENS = 2  # by the estimate, a single code point may have so many


class Windowed(Wrapper):
    """Ranks documents that are too long for a model by their passages: ``Windowed(Client(Pinecone()), tokens=512)``.

    A text of more than `tokens` tokens is cut between words into windows that overlap. All windows go out as documents of
    one call, and the document gets its best window's score. `RankedDocument.spans` says which window that was; where the
    service itself found spans in a plain text, it says these, as they lie in the whole text.

    Windows count as documents, for the bill and for a service's limits: Kendra ranks the first 25 of them. They are sent
    in rounds, the first ones of all documents before the second ones. Of a structured document the ``"text"`` is cut, and
    everything else goes with each window. One with a `group_id` or a `tokenized_body` is left whole.

    Args:
        reranker: Who ranks.
        tokens: What a window may have at most, at least 2; the query is not among them.
        overlap: What neighbouring windows may share at most, up to half of `tokens`.
        on_long: ``"windows"``; ``"truncate"`` ranks the first window alone and warns; ``"error"`` refuses the call.
        aggregate: A document's score: ``"max"`` is its best window's, ``"first"`` its first one's, the only one that is
            sent then, ``"mean"`` the mean of its best windows'.
        best: How many windows these are, at least 1.
        tokenizer: What counts tokens; None: UTF-8 bytes divided by three, hardly ever too few. It is called in any thread.
        timeout: Seconds for a call as a whole; None: as long as the reranker has.

    Raises:
        InvalidRequestError: An argument is out of range.
    """

    def __init__(
        self,
        reranker: Reranker,
        *,
        tokens: int = 512,
        overlap: int = 64,
        on_long: Literal["windows", "truncate", "error"] = "windows",
        aggregate: Literal["max", "first", "mean"] = "max",
        best: int = 3,
        tokenizer: Tokenizer | None = None,
        timeout: float | None = None,
    ) -> None:
        super().__init__(reranker, timeout=timeout)
        self._tokens = check_integer("tokens", tokens, LEAST_TOKENS, None)
        self._overlap = check_integer("overlap", overlap, 0, self._tokens // 2, "at most half of tokens")
        self._on_long = check_choice("on_long", on_long, ("windows", "truncate", "error"))
        self._aggregate = check_choice("aggregate", aggregate, ("max", "first", "mean"))
        best = check_integer("best", best, 1, None)
        self._best = best if self._aggregate == "mean" else 1
        if tokenizer is not None and not callable(tokenizer):
            raise InvalidRequestError(f"tokenizer must be a function that counts a text's tokens, got {shown(tokenizer)}")
        self._tokenizer = tokenizer

    def _estimate(self, request: RerankRequest[D]) -> Estimate:
        """That of all windows."""
        sent, _ = self._plan(request.items)
        return estimate_of(self.rerankers[0], _sent(request, sent))

    async def _rerank(self, io: IO, request: RerankRequest[D]) -> RerankResponse[D]:
        sent, warnings = await self._planned(io, request)
        response = await call(io, self.rerankers[0], _sent(request, sent))
        response = replace(response, warnings=(*warnings, *response.warnings))
        if not _are_cut(sent):
            return response
        results = in_order(_joined(request, sent, response, self._best))
        return replace(response, results=results[: request.top_n])

    async def _planned(self, io: IO, request: RerankRequest[D]) -> tuple[list[Window], list[str]]:
        """What is sent; a tokenizer may take its time, in which an event loop would stand still."""
        if self._tokenizer is None:
            return self._plan(request.items)
        try:
            return await io.offload(partial(self._plan, request.items), request.deadline)
        except TimeoutError as error:
            late = DeadlineExceededError(
                f"the tokenizer had not counted all documents within {request.deadline.seconds:g} s; allow more with timeout="
            )
            late.sent = False
            raise late from error

    def _plan(self, items: Sequence[str | Document]) -> tuple[list[Window], list[str]]:
        """What is sent, and what is to be told of it."""
        sent = cut_all(items, self._cut)
        parts = [window for window in sent if window.is_part]
        left = sum(is_left_whole(item) and self._count(long_text(item)) > self._tokens for item in items)
        return sent, list(self._told(parts, left))

    def _cut(self, index: int, text: str) -> list[tuple[int, int]]:
        tokens = self._count(text)
        if tokens <= self._tokens:
            return []
        if self._on_long == "error":
            raise InvalidRequestError(
                f"documents[{index}] has about {tokens:,} tokens, more than the {self._tokens:,} allowed: shorten it, raise "
                "tokens=, or have it cut by on_long='windows' or 'truncate'"
            )
        if self._on_long == "truncate" or self._aggregate == "first":
            return [first_window(text, self._tokens, self._count)]
        return windows(text, self._tokens, self._overlap, self._count)

    def _told(self, parts: Sequence[Window], left: int) -> Iterator[str]:
        many = len({window.index for window in parts})
        how = f"ranked by {len(parts):,} windows" if self._on_long == "windows" else "cut to their beginnings"
        how = "ranked by their first windows" if self._on_long == "windows" and self._aggregate == "first" else how
        if many:
            yield f"documents of more than {self._tokens:,} tokens, which were {how}: {many}"
        if left:
            yield f"documents of more than {self._tokens:,} tokens with a group_id or a tokenized_body, left whole: {left}"

    def _count(self, text: str) -> int:
        found: object = most_tokens(text) if self._tokenizer is None else self._tokenizer(text)
        if not isinstance(found, int) or isinstance(found, bool) or found < 0:
            raise InvalidRequestError(
                f"tokenizer must give a number of tokens, got {shown(found)[:100]}: pass such as lambda text: len(encode(text))"
            )
        return found


def _are_cut(sent: Sequence[Window]) -> bool:
    return any(window.is_part for window in sent)


def _sent(request: RerankRequest[D], sent: Sequence[Window]) -> RerankRequest[D]:
    """The request for the windows; for whole documents alone, the caller's.

    A service may cut its answer only where each document is sent once.
    """
    if not _are_cut(sent):
        return request
    documents = [window.item if window.is_part else request.documents[window.index] for window in sent]
    return replace(
        request,
        documents=cast("tuple[D, ...]", tuple(documents)),  # parts come back as they went, and are not given to the caller
        items=tuple(window.item for window in sent),
        top_n=request.top_n if len(sent) == len(request.items) else None,
    )


def _joined(
    request: RerankRequest[D], sent: Sequence[Window], response: RerankResponse[D], best: int
) -> Iterator[RankedDocument[D]]:
    """The caller's documents by what became of their windows."""
    found: defaultdict[int, list[tuple[Window, RankedDocument[D]]]] = defaultdict(list)
    for result in response:
        found[sent[result.index].index].append((sent[result.index], result))
    for index, parts in found.items():
        yield _one(request.documents[index], parts, best)


def _one(document: D, parts: Sequence[tuple[Window, RankedDocument[D]]], best: int) -> RankedDocument[D]:
    """A document by its *best* windows, of equal ones the first."""
    window, result = parts[0]
    if not window.is_part:
        return replace(result, index=window.index, document=document)
    scored = [(part, score, found) for part, found in parts if (score := found.relevance_score) is not None]
    counted = sorted(scored, key=lambda part: (-part[1], part[0].start))[:best]
    if not counted:
        return RankedDocument(window.index, None, document, skipped=first_reason(found.skipped for _, found in parts))
    spans = _spans_of_service(counted) or [Span(part.start, part.end, score) for part, score, _ in counted]
    return RankedDocument(window.index, _mean([score for _, score, _ in counted]), document, tuple(spans))


def _mean(scores: Sequence[float]) -> float:
    """The mean of *scores*, best first; that of equal ones is the same to the last bit."""
    return min(scores[0], max(scores[-1], math.fsum(score / len(scores) for score in scores)))


def _spans_of_service(counted: Sequence[tuple[Window, float, RankedDocument[D]]]) -> list[Span]:
    """What the service found in these windows, as it lies in the whole text, each span once, best first."""
    plain = ((part.start, span) for part, _, found in counted if part.is_plain for span in found.spans)
    moved = dict.fromkeys(Span(start + span.start, start + span.end, span.score) for start, span in plain)
    return sorted(moved, key=lambda span: (-span.score, span.start))
