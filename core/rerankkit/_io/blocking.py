"""Waiting in the calling thread, and in threads of its own for what goes on at the same time."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING, Any, TypeVar

from rerankkit._halting import HALT, Halt, interruptible
from rerankkit.deadline import Deadline

if TYPE_CHECKING:
    from rerankkit._http import Http
    from rerankkit._wire import HttpRequest, HttpResponse
    from rerankkit.reranker import Reranker
    from rerankkit.types import D, RerankRequest, RerankResponse
from rerankkit._io.protocol import LEAST_SECONDS, Finished, Job, decides, first_failed, was_cancelled

T = TypeVar("T")


class Blocking:
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
    failed = next((future for future in found if not was_cancelled(future) and future.exception() is not None), None)
    return futures if failed is None else [failed]


def _result(future: Future[T]) -> T:
    try:
        return future.result()
    finally:
        del future  # a failure and the frames of its traceback would keep each other alive


def _first_decided(futures: Sequence[Future[T]], ends: Callable[[Exception], bool]) -> Finished[T]:
    """The one with which a race is over."""
    found = next((future for future in as_completed(futures) if decides(future, ends)), None)
    return found or first_failed(futures)


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that awaits only `BLOCKING`, which never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    coroutine.close()
    raise RuntimeError("a coroutine run without an event loop awaited something else than its IO")
