"""What a coroutine of this package may wait for, and who wins a race."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

from rerankkit.deadline import Deadline

if TYPE_CHECKING:
    from rerankkit._http import Http
    from rerankkit._wire import HttpRequest, HttpResponse
    from rerankkit.reranker import Reranker
    from rerankkit.types import D, RerankRequest, RerankResponse

LEAST_SECONDS = 0.001  # that a reranker is given which is not built on an `IO`: rerankers refuse a timeout of 0

T = TypeVar("T")
Job: TypeAlias = Callable[[], Coroutine[Any, Any, T]]
Finished: TypeAlias = Future[T] | asyncio.Task[T]


class IO(Protocol):
    """What a coroutine of this package may wait for."""

    async def send(self, http: Http, request: HttpRequest, deadline: Deadline) -> HttpResponse:
        """The reply to *request*.

        Raises:
            TimeoutError: None came before *deadline*.
            TransportError: None can come.
        """
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...

    async def offload(self, function: Callable[[], T], deadline: Deadline) -> T:
        """The result of a function that computes or blocks, without stopping others meanwhile.

        Raises:
            TimeoutError: There is none before *deadline*; the function itself is not interrupted.
        """
        ...

    async def gather(self, jobs: Sequence[Job[T]], limit: int) -> list[T]:
        """The results of all *jobs*, in their order, at most *limit* at work at a time; the first failure ends it."""
        ...

    async def race(self, jobs: Sequence[Job[T]], ends: Callable[[Exception], bool]) -> T:
        """The first result of *jobs*, which begin at once; the others are cancelled.

        A failure that *ends* accepts is raised at once; after others the rest goes on, and if all fail, it is the first
        job's that is raised.
        """
        ...

    async def wait(self, future: Future[T], deadline: Deadline) -> T:
        """The result of *future*, which another thread or task sets.

        Raises:
            TimeoutError: There is none before *deadline*.
        """
        ...

    async def call(self, reranker: Reranker, request: RerankRequest[D]) -> RerankResponse[D]:
        """What a reranker that is not built on an `IO` answers."""
        ...


def decides(done: Finished[T], ends: Callable[[Exception], bool]) -> bool:
    """Whether a race is over with this."""
    if was_cancelled(done):
        return False
    failure = done.exception()
    return not isinstance(failure, Exception) or ends(failure)


def first_failed(jobs: Sequence[Finished[T]]) -> Finished[T]:
    """The first of *jobs*, all of which have failed, that did so by itself."""
    return next((job for job in jobs if not was_cancelled(job)), jobs[0])


def was_cancelled(done: Finished[T]) -> bool:
    return done.cancelled() or isinstance(done.exception(), CancelledError)
