"""A ranker without a service, a key or a network: BM25 over the candidates of one call (extra: local)."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

from rerankkit._checks import check_timeout, is_blank
from rerankkit._io import IO
from rerankkit._rendering import ranked_text
from rerankkit.deadline import Deadline
from rerankkit.errors import DeadlineExceededError, InvalidRequestError
from rerankkit.identity import CacheIdentity
from rerankkit.money import FREE, Estimate
from rerankkit.reranker import BaseReranker
from rerankkit.types import D, RankedDocument, RerankRequest, RerankResponse

K1 = 1.2  # how soon a repeated term stops counting; the usual value
B = 0.75  # how much long documents are held back; the usual value


class BM25(BaseReranker):
    """Ranks by the words that query and documents share; equal scores keep the caller's order.

    How rare a word is, is counted among the documents of the call: scores of two calls cannot be compared.
    They are at least 0 and have no upper limit.
    """

    share: ClassVar[float] = 0.1

    def __init__(self, *, timeout: float = 30.0) -> None:
        if importlib.util.find_spec("bm25s") is None:
            raise InvalidRequestError("local:bm25 ranks with bm25s: pip install 'rerankkit[local]'")
        self.timeout = check_timeout(timeout)

    @property
    def label(self) -> str:
        """As in `connect`."""
        return "local:bm25"

    def __repr__(self) -> str:
        return "BM25()"

    def cache_identity(self) -> CacheIdentity:
        """Listwise: it counts words among the documents of a call."""
        return CacheIdentity(b'"local:bm25"', "bm25")

    def _estimate(self, request: RerankRequest[D]) -> Estimate:
        return FREE

    async def _rerank(self, io: IO, request: RerankRequest[D]) -> RerankResponse[D]:
        texts = [ranked_text(index, item, None) for index, item in enumerate(request.items)]
        ranked = [index for index, text in enumerate(texts) if not is_blank(text)]
        blank = [index for index, text in enumerate(texts) if is_blank(text)]
        values = await _in_time(io, partial(bm25_scores, request.query, [texts[index] for index in ranked]), request.deadline)
        scores = dict(zip(ranked, values, strict=True))
        order = sorted(ranked, key=lambda index: (-scores[index], index))
        found = [RankedDocument(index, scores[index], request.documents[index]) for index in order]
        found += [RankedDocument(index, None, request.documents[index], skipped="blank") for index in blank]
        return RerankResponse(tuple(found[: request.top_n]), provider="local", model="bm25", cost=0.0)


async def _in_time(io: IO, compute: Callable[[], list[float]], deadline: Deadline) -> list[float]:
    """What *compute* gives.

    Raises:
        DeadlineExceededError: It gives nothing before *deadline*.
    """
    try:
        return await io.offload(compute, deadline)
    except TimeoutError:
        raise DeadlineExceededError(
            f"local:bm25 was not ready within {deadline.seconds:g} s; allow more with timeout=", provider="local", model="bm25"
        ) from None


def bm25_scores(query: str, texts: Sequence[str]) -> list[float]:
    """BM25 (Lucene's form) of each text, its word statistics taken from *texts* alone."""
    bm25s: Any = importlib.import_module("bm25s")  # here, because it is optional and brings numpy
    if not texts:
        return []
    words = bm25s.tokenize(list(texts), stopwords="english", return_ids=False, show_progress=False)
    asked = bm25s.tokenize([query], stopwords="english", return_ids=False, show_progress=False)[0]
    if not any(words):  # nothing but stop words, numbers of one digit, signs
        return [0.0] * len(texts)
    index = bm25s.BM25(k1=K1, b=B)
    index.index(words, show_progress=False)
    known = [word for word in asked if word in index.vocab_dict]
    return [float(score) for score in index.get_scores(known)] if known else [0.0] * len(texts)
