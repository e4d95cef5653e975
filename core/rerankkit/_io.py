"""The two ways to do I/O.  No other module may block or await the outside world.

The engine and the wrappers are coroutines that await nothing but an `IO`. The blocking one never suspends,
so `run` finishes such a coroutine without an event loop, in whatever thread it is called.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, as_completed
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar, cast

import anyio

from rerankkit._halting import HALT, Halt, interruptible
from rerankkit._http import Http
from rerankkit._wire import HttpRequest, HttpResponse
from rerankkit.deadline import Deadline
from rerankkit.errors import InvalidRequestError

if TYPE_CHECKING:
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


class _Blocking:
    """Blocks the calling thread; batches go out in threads of their own."""

    async def send(self, http: Http, request: HttpRequest, deadline: Deadline) -> HttpResponse:
        _check_wanted()
        return http.send(request, deadline)

    async def sleep(self, seconds: float) -> None:
        woken = threading.Event()
        with interruptible(woken.set):
            woken.wait(seconds)

    async def offload(self, function: Callable[[], T], deadline: Deadline) -> T:
        executor = ThreadPoolExecutor(1, thread_name_prefix="rerankkit")
        try:
            return executor.submit(contextvars.copy_context().run, function).result(deadline.remaining())
        finally:
            executor.shutdown(wait=False)

    async def gather(self, jobs: Sequence[Job[T]], limit: int) -> list[T]:
        if len(jobs) <= 1 or limit == 1:
            return [await job() for job in jobs]
        halt = Halt(HALT.get())
        executor = ThreadPoolExecutor(min(limit, len(jobs)), thread_name_prefix="rerankkit")
        try:
            return list(map(_result, _decided(_submitted(executor, jobs, halt))))
        except BaseException:
            halt.set()  # what is under way and cannot be woken ends at the deadline at the latest
            raise
        finally:
            executor.shutdown(wait=False, cancel_futures=True)

    async def race(self, jobs: Sequence[Job[T]], ends: Callable[[Exception], bool]) -> T:
        halt = Halt(HALT.get())
        executor = ThreadPoolExecutor(len(jobs), thread_name_prefix="rerankkit")
        try:
            # None is done in this thread: if it cannot be woken, it would hold back another's result.
            return _first_decided(_submitted(executor, jobs, halt), ends).result()
        finally:
            halt.set()
            executor.shutdown(wait=False, cancel_futures=True)

    async def wait(self, future: Future[T], deadline: Deadline) -> T:
        woken = threading.Event()
        future.add_done_callback(lambda _: woken.set())
        with interruptible(woken.set):
            woken.wait(deadline.remaining())
        return future.result(timeout=0)

    async def call(self, reranker: Reranker, request: RerankRequest[D]) -> RerankResponse[D]:
        _check_wanted()
        left = max(LEAST_SECONDS, request.deadline.remaining())
        return reranker.rerank(request.query, request.documents, top_n=request.top_n, timeout=left)


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

        tasks: list[asyncio.Task[T]] = []
        try:
            async with asyncio.TaskGroup() as group:
                tasks += [group.create_task(work(job)) for job in jobs]
        except BaseExceptionGroup as failures:
            first = _first(failures)
        else:
            return [task.result() for task in tasks]
        try:
            raise first
        finally:
            tasks.clear()  # a failure and the frames of its traceback would keep each other alive
            del first

    async def race(self, jobs: Sequence[Job[T]], ends: Callable[[Exception], bool]) -> T:
        tasks = [asyncio.create_task(job()) for job in jobs]
        try:
            return (await _first_decided_in_loop(tasks, ends)).result()
        finally:
            await _cancelled(tasks)
            tasks.clear()  # a failure and the frames of its traceback would keep each other alive

    async def wait(self, future: Future[T], deadline: Deadline) -> T:
        loop, woken = asyncio.get_running_loop(), asyncio.Event()

        def wake(_: Future[T]) -> None:
            with suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits
                loop.call_soon_threadsafe(woken.set)

        future.add_done_callback(wake)
        if not future.done():
            async with asyncio.timeout(deadline.remaining()):
                await woken.wait()
        return future.result()

    async def call(self, reranker: Reranker, request: RerankRequest[D]) -> RerankResponse[D]:
        left = max(LEAST_SECONDS, request.deadline.remaining())
        return await reranker.arerank(request.query, request.documents, top_n=request.top_n, timeout=left)


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


def _check_wanted() -> None:
    """Begin nothing that nobody waits for.

    Raises:
        CancelledError: Nobody does.
    """
    halt = HALT.get()
    if halt is not None and halt.is_set():
        raise CancelledError


def _submitted(executor: ThreadPoolExecutor, jobs: Iterable[Job[T]], halt: Halt) -> list[Future[T]]:
    """All *jobs*, at work in threads that obey *halt*."""
    return [executor.submit(contextvars.copy_context().run, _start, job, halt) for job in jobs]


def _start(job: Job[T], halt: Halt) -> T:
    HALT.set(halt)
    return run(job())


def _decided(futures: Sequence[Future[T]]) -> Sequence[Future[T]]:
    """All of them, or the first that failed; what others gave up because of it is none, and may be known before it."""
    found = as_completed(futures)
    failed = next((future for future in found if not _was_cancelled(future) and future.exception() is not None), None)
    return futures if failed is None else [failed]


def _result(future: Future[T]) -> T:
    try:
        return future.result()
    finally:
        del future  # a failure and the frames of its traceback would keep each other alive


def _first_decided(futures: Sequence[Future[T]], ends: Callable[[Exception], bool]) -> Finished[T]:
    """The one with which a race is over."""
    found = next((future for future in as_completed(futures) if _decides(future, ends)), None)
    return found or _first_failed(futures)


async def _first_decided_in_loop(tasks: Sequence[asyncio.Task[T]], ends: Callable[[Exception], bool]) -> Finished[T]:
    """The same in an event loop."""
    left = set(tasks)
    while left:
        done, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
        if any(_decides(task, ends) for task in done):
            break
    found = next((task for task in tasks if task.done() and _decides(task, ends)), None)
    return found or _first_failed(tasks)


async def _cancelled(tasks: Sequence[asyncio.Task[T]]) -> None:
    """Return when they have cleaned up."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _decides(done: Finished[T], ends: Callable[[Exception], bool]) -> bool:
    """Whether a race is over with this."""
    if _was_cancelled(done):
        return False
    failure = done.exception()
    return not isinstance(failure, Exception) or ends(failure)


def _first_failed(jobs: Sequence[Finished[T]]) -> Finished[T]:
    """The first of *jobs*, all of which have failed, that did so by itself."""
    return next((job for job in jobs if not _was_cancelled(job)), jobs[0])


def _was_cancelled(done: Finished[T]) -> bool:
    return done.cancelled() or isinstance(done.exception(), CancelledError)


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that awaits only `BLOCKING`, which never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    coroutine.close()
    raise RuntimeError("a coroutine run without an event loop awaited something else than its IO")
