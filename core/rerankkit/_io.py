"""The two ways to do I/O.  No other module may block or await the outside world.

The engine and the wrappers are coroutines that await nothing but an `IO`. The blocking one never suspends,
so `run` finishes such a coroutine without an event loop, in whatever thread it is called.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, as_completed
from typing import Any, Protocol, TypeAlias, TypeVar, cast

import anyio

from rerankkit._http import Http
from rerankkit._wire import HttpRequest, HttpResponse
from rerankkit.deadline import Deadline
from rerankkit.errors import InvalidRequestError

T = TypeVar("T")
Job: TypeAlias = Callable[[], Coroutine[Any, Any, T]]


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


_FAILED: contextvars.ContextVar[threading.Event | None] = contextvars.ContextVar("rerankkit_failed", default=None)
"""Set, in the threads of one gathering, once one of them has failed: the others begin nothing more."""


class _Blocking:
    """Blocks the calling thread; batches go out in threads of their own."""

    async def send(self, http: Http, request: HttpRequest, deadline: Deadline) -> HttpResponse:
        failed = _FAILED.get()
        if failed is not None and failed.is_set():
            raise CancelledError
        return http.send(request, deadline)

    async def sleep(self, seconds: float) -> None:
        failed = _FAILED.get() or threading.Event()
        if failed.wait(seconds):
            raise CancelledError

    async def offload(self, function: Callable[[], T], deadline: Deadline) -> T:
        executor = ThreadPoolExecutor(1, thread_name_prefix="rerankkit")
        try:
            return executor.submit(contextvars.copy_context().run, function).result(deadline.remaining())
        finally:
            executor.shutdown(wait=False)

    async def gather(self, jobs: Sequence[Job[T]], limit: int) -> list[T]:
        if len(jobs) <= 1 or limit == 1:
            return [await job() for job in jobs]
        failed = _FAILED.get() or threading.Event()
        executor = ThreadPoolExecutor(min(limit, len(jobs)), thread_name_prefix="rerankkit")
        try:
            return _results([executor.submit(contextvars.copy_context().run, _start, job, failed) for job in jobs])
        except BaseException:
            failed.set()  # what is under way ends by itself, at the deadline at the latest
            raise
        finally:
            executor.shutdown(wait=False, cancel_futures=True)


class _Async:
    """Suspends the running task; everything happens in the running event loop."""

    async def send(self, http: Http, request: HttpRequest, deadline: Deadline) -> HttpResponse:
        async with asyncio.timeout(deadline.remaining()):
            return await _cancelled_in_scope(lambda: http.asend(request, deadline))

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def offload(self, function: Callable[[], T], deadline: Deadline) -> T:
        async with asyncio.timeout(deadline.remaining()):
            return await asyncio.to_thread(function)

    async def gather(self, jobs: Sequence[Job[T]], limit: int) -> list[T]:
        if len(jobs) <= 1 or limit == 1:
            return [await job() for job in jobs]
        slots = asyncio.Semaphore(limit)

        async def work(job: Job[T]) -> T:
            async with slots:
                return await job()

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(work(job)) for job in jobs]
        except BaseExceptionGroup as failures:
            first = _first(failures)
        else:
            return [task.result() for task in tasks]
        raise first


async def _cancelled_in_scope(job: Job[T]) -> T:
    """The result of *job*; a cancellation reaches it by way of a scope.

    HTTP libraries shield the return of a connection to its pool from scopes, not from the cancellation of a task: one
    that comes there would leave the connection taken for ever.
    """
    scope = anyio.CancelScope()

    async def scoped() -> T:
        with scope:
            return await job()
        raise asyncio.CancelledError

    task = asyncio.create_task(scoped())
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        scope.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # looked at, so that nobody is told that it was not
        raise


def check_loop() -> None:
    """Refuse to run where there is no event loop of asyncio's.

    Raises:
        InvalidRequestError: There is none.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise InvalidRequestError(
            "async calls need asyncio's event loop, which is not running here; under trio, call rerank in a thread: "
            "await trio.to_thread.run_sync(reranker.rerank, query, documents)"
        ) from None


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """The failure that ended a group: the engine's callers know no exception groups."""
    first = failures.exceptions[0]
    return _first(cast("BaseExceptionGroup[BaseException]", first)) if isinstance(first, BaseExceptionGroup) else first


BLOCKING: IO = _Blocking()
ASYNC: IO = _Async()


def _results(futures: Sequence[Future[T]]) -> list[T]:
    """All results, or the first failure; what others gave up because of it is none, and may be known before it."""
    for future in as_completed(futures):
        failure = future.exception()
        if failure is not None and not isinstance(failure, CancelledError):
            raise failure
    return [future.result() for future in futures]


def _start(job: Job[T], failed: threading.Event) -> T:
    _FAILED.set(failed)
    return run(job())


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that awaits only `BLOCKING`, which never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    coroutine.close()
    raise RuntimeError("a coroutine run without an event loop awaited something else than its IO")
