"""Waiting in the running event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar, cast

import anyio

from rerankkit.deadline import Deadline
from rerankkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from rerankkit._http import Http
    from rerankkit._wire import HttpRequest, HttpResponse
    from rerankkit.reranker import Reranker
    from rerankkit.types import D, RerankRequest, RerankResponse
from rerankkit._io.protocol import LEAST_SECONDS, Finished, Job, decides, first_failed
from rerankkit._io.sharing import fair_turn

T = TypeVar("T")


class Looping:
    """Suspends the running task; everything happens in the running event loop."""

    async def send(self, http: Http, request: HttpRequest, deadline: Deadline) -> HttpResponse:
        async with asyncio.timeout(deadline.remaining()):
            if http.bears_cancellation:
                response = await http.asend(request, deadline)
            else:
                response = await _cancelled_in_scope(lambda: _in_turn(http, request, deadline))
        await fair_turn()  # replies may arrive at once, too
        return response

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


async def _in_turn(http: Http, request: HttpRequest, deadline: Deadline) -> HttpResponse:
    """The same, begun in a turn of the loop that has time for it."""
    await fair_turn()
    return await http.asend(request, deadline)


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


async def _first_decided_in_loop(tasks: Sequence[asyncio.Task[T]], ends: Callable[[Exception], bool]) -> Finished[T]:
    """The same in an event loop."""
    left = set(tasks)
    while left:
        done, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
        if any(decides(task, ends) for task in done):
            break
    found = next((task for task in tasks if task.done() and decides(task, ends)), None)
    return found or first_failed(tasks)


async def _cancelled(tasks: Sequence[asyncio.Task[T]]) -> None:
    """Return when they have cleaned up."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
