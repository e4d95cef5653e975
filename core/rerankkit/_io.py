"""The two ways to do I/O.  No other module may block or await the outside world.

The engine and the wrappers are coroutines that await nothing but an `IO`. The blocking one never suspends,
so `run` finishes such a coroutine without an event loop, in whatever thread it is called.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Any, Protocol, TypeAlias, TypeVar, cast

from rerankkit._http import Http
from rerankkit._wire import HttpRequest, HttpResponse
from rerankkit.deadline import Deadline

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
            TimeoutError: There is none before *deadline* (not raised by the blocking IO, which cannot interrupt it).
        """
        ...

    async def gather(self, jobs: Sequence[Job[T]], limit: int) -> list[T]:
        """The results of all *jobs*, in their order, at most *limit* at work at a time; the first failure ends it."""
        ...


class _Blocking:
    """Blocks the calling thread; batches go out in threads of their own."""

    async def send(self, http: Http, request: HttpRequest, deadline: Deadline) -> HttpResponse:
        return http.send(request, deadline)

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 -- blocking is this class's job

    async def offload(self, function: Callable[[], T], deadline: Deadline) -> T:
        return function()

    async def gather(self, jobs: Sequence[Job[T]], limit: int) -> list[T]:
        if len(jobs) <= 1:
            return [await job() for job in jobs]
        executor = ThreadPoolExecutor(min(limit, len(jobs)), thread_name_prefix="rerankkit")
        try:
            futures = [executor.submit(contextvars.copy_context().run, _start, job) for job in jobs]
            wait(futures, return_when=FIRST_EXCEPTION)
            failure = next((future.exception() for future in futures if future.done() and future.exception()), None)
            if failure is not None:
                raise failure
            return [future.result() for future in futures]
        finally:  # after a failure: what is under way ends by itself, at the deadline at the latest
            executor.shutdown(wait=False, cancel_futures=True)


class _Async:
    """Suspends the running task; everything happens in the running event loop."""

    async def send(self, http: Http, request: HttpRequest, deadline: Deadline) -> HttpResponse:
        async with asyncio.timeout(deadline.remaining()):
            return await http.asend(request, deadline)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def offload(self, function: Callable[[], T], deadline: Deadline) -> T:
        async with asyncio.timeout(deadline.remaining()):
            return await asyncio.to_thread(function)

    async def gather(self, jobs: Sequence[Job[T]], limit: int) -> list[T]:
        if len(jobs) <= 1:
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


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """The failure that ended a group: the engine's callers know no exception groups."""
    first = failures.exceptions[0]
    return _first(cast("BaseExceptionGroup[BaseException]", first)) if isinstance(first, BaseExceptionGroup) else first


BLOCKING: IO = _Blocking()
ASYNC: IO = _Async()


def _start(job: Job[T]) -> T:
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
