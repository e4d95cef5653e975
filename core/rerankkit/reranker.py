"""What a reranker is, and the base that gives both colours from one coroutine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Protocol, runtime_checkable

from rerankkit._checks import as_documents, as_items, check_query, check_timeout, check_top_n
from rerankkit._closing import Closing
from rerankkit._described import Described
from rerankkit._io import ASYNC, BLOCKING, IO, check_loop, fair_turn, run
from rerankkit._watching import watched
from rerankkit.deadline import Deadline
from rerankkit.identity import CacheIdentity
from rerankkit.money import Estimate
from rerankkit.types import D, RerankRequest, RerankResponse


@runtime_checkable
class Reranker(Protocol):
    """Anything that orders documents by their relevance to a query.

    Both methods take `top_n` (at least 1; None ranks all; more than there are documents, all) and `timeout`
    (seconds for the whole call; None for the reranker's own default), and raise `rerankkit.errors.RerankError`s.
    """

    def rerank(
        self, query: str, documents: Sequence[D], *, top_n: int | None = None, timeout: float | None = None
    ) -> RerankResponse[D]:
        """The documents, most relevant first."""
        ...

    async def arerank(
        self, query: str, documents: Sequence[D], *, top_n: int | None = None, timeout: float | None = None
    ) -> RerankResponse[D]:
        """The same in the running event loop."""
        ...


class BaseReranker(Described, Closing, ABC):
    """A `Reranker` whose work is one coroutine that awaits only its `IO`.

    Attributes:
        timeout: Seconds a call may take as a whole, where the caller does not say otherwise.
        share: Of a deadline that it shares with others: how much beside the 1.0 of a service.
    """

    timeout: float = 30.0
    share: ClassVar[float] = 1.0

    @property
    def label(self) -> str:
        """How it is called in reports, such as ``"cohere:rerank-v3.5"``."""
        return type(self).__name__.lower()

    @property
    def takes_scores(self) -> bool:
        """Whether it may look at the documents' first-stage scores."""
        return True

    @abstractmethod
    async def _rerank(self, io: IO, request: RerankRequest[D]) -> RerankResponse[D]:
        """Carry out a checked request."""

    def rerank(
        self, query: str, documents: Sequence[D], *, top_n: int | None = None, timeout: float | None = None
    ) -> RerankResponse[D]:
        """The documents, most relevant first, waited for in the calling thread.

        Args:
            query: What the documents are ranked for; not blank.
            documents: Texts, mappings with a ``"text"``, or `Document`s; never changed.
            top_n: How many to return, at least 1; None or more than there are: all.
            timeout: Seconds for the whole call, retries included; None: this object's `timeout`.

        Raises:
            InvalidRequestError: The call cannot be right; nothing was sent.
            DeadlineExceededError: `timeout` is over.
            ProviderError: The service refused or failed, after all attempts that made sense.
        """
        return run(watched(self, BLOCKING, self._checked(query, documents, top_n, timeout), is_own=True))

    async def arerank(
        self, query: str, documents: Sequence[D], *, top_n: int | None = None, timeout: float | None = None
    ) -> RerankResponse[D]:
        """The same as `rerank`, in the running event loop; cancelling it cancels its requests."""
        check_loop()
        await fair_turn()
        return await watched(self, ASYNC, self._checked(query, documents, top_n, timeout), is_own=True)

    def estimate(self, query: str, documents: Sequence[D], *, top_n: int | None = None) -> Estimate:
        """What a call is likely to consume and cost; nothing is sent.

        Raises:
            InvalidRequestError: The call cannot be right.
        """
        return self._estimate(self._checked(query, documents, top_n, None))

    def cache_identity(self) -> CacheIdentity | None:
        """What its scores depend on, so that they can be kept; None: it cannot say."""
        return None

    def _estimate(self, request: RerankRequest[D]) -> Estimate:
        """What a checked request is likely to consume and cost."""
        return Estimate()

    def _checked(self, query: str, documents: Sequence[D], top_n: int | None, timeout: float | None) -> RerankRequest[D]:
        given = as_documents(documents)
        return RerankRequest(
            query=check_query(query),
            documents=given,
            items=as_items(given),
            top_n=check_top_n(top_n),
            deadline=Deadline(self.timeout if timeout is None else check_timeout(timeout)),
        )
