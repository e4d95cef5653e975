"""The two ways to wait: same results, first failure first, nothing left behind."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import signal
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any

import anyio
import pytest

from helpers.patience import until
from helpers.stopwatch import Stopwatch
from rerankkit import InvalidRequestError
from rerankkit._halting import HALT, Halt
from rerankkit._io import ASYNC, BLOCKING, IO, check_loop, run
from rerankkit._wire import HttpRequest, HttpResponse
from rerankkit.deadline import Deadline
from rerankkit.types import RerankRequest

REQUEST = HttpRequest("https://x.test", {}, b"")
REPLY = HttpResponse(200, {}, b"")
DEADLINE = Deadline(86_400)


class Http:
    """Answers at once, or when *wait* is over."""

    bears_cancellation = False

    def __init__(self, wait: Callable[[], Coroutine[Any, Any, Any]] | None = None) -> None:
        self.sent: list[tuple[HttpRequest, Deadline]] = []
        self.wait = wait

    def send(self, request: HttpRequest, deadline: Deadline) -> HttpResponse:
        self.sent.append((request, deadline))
        return REPLY

    async def asend(self, request: HttpRequest, deadline: Deadline) -> HttpResponse:
        if self.wait:
            await self.wait()
        return self.send(request, deadline)


def finish(colour: str, make: Callable[[IO], Coroutine[Any, Any, Any]]) -> Any:
    return run(make(BLOCKING)) if colour == "sync" else asyncio.run(make(ASYNC))


@pytest.mark.parametrize("count", [0, 1, 2, 20])
def test_gathered_results_keep_the_order_of_their_jobs(colour: str, count: int) -> None:
    async def work(io: IO) -> list[int]:
        async def job(number: int) -> int:
            await io.sleep(0.02 * (number % 3))
            return number

        return await io.gather([lambda number=number: job(number) for number in range(count)], 8)

    assert finish(colour, work) == list(range(count))


def test_no_more_jobs_than_allowed_are_at_work_at_a_time(colour: str) -> None:
    working, most, lock = 0, 0, threading.Lock()

    async def work(io: IO) -> None:
        async def job() -> None:
            nonlocal working, most
            with lock:
                working += 1
                most = max(most, working)
            await io.sleep(0.02)
            with lock:
                working -= 1

        await io.gather([job] * 12, 3)

    finish(colour, work)
    assert most == 3


def test_two_jobs_are_at_work_at_the_same_time(colour: str) -> None:
    begun: list[int] = []

    async def work(io: IO) -> None:
        async def job() -> None:
            begun.append(1)
            for _ in range(1_000):
                if len(begun) == 2:
                    return
                await io.sleep(0.005)
            raise AssertionError("the other one waits for this one")

        await io.gather([job, job], 2)

    finish(colour, work)


def test_the_first_failure_ends_a_gathering_without_waiting_for_the_rest(colour: str) -> None:
    class FailureError(Exception):
        pass

    async def work(io: IO) -> None:
        async def job(number: int) -> None:
            if number == 1:
                raise FailureError("one")
            await io.sleep(1.0)

        await io.gather([lambda number=number: job(number) for number in range(20)], 4)

    stopwatch = Stopwatch()
    with pytest.raises(FailureError, match="one") as caught:
        finish(colour, work)
    assert stopwatch.own_seconds() < 0.5
    assert not isinstance(caught.value, BaseExceptionGroup)


def test_nested_groups_give_the_innermost_failure(colour: str) -> None:
    async def work(io: IO) -> None:
        async def fails() -> None:
            raise LookupError("deep")

        async def inner() -> None:
            await io.gather([fails, fails], 2)

        await io.gather([inner, inner], 2)

    with pytest.raises(LookupError, match="deep"):
        finish(colour, work)


def test_the_failure_of_a_nested_group_is_told_and_not_what_others_gave_up_for_it(colour: str) -> None:
    async def work(io: IO) -> None:
        async def fails() -> None:
            raise LookupError("deep")

        async def inner() -> None:
            try:
                await io.gather([fails, fails], 2)
            finally:
                time.sleep(0.05)  # noqa: ASYNC251 -- in this time the others learn of it and give up

        async def waits() -> None:
            await io.sleep(5)

        await io.gather([waits, inner, waits], 3)

    with pytest.raises(LookupError, match="deep"):
        finish(colour, work)


def test_context_variables_reach_the_jobs(colour: str) -> None:
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name")
    name.set("the caller's")

    async def work(io: IO) -> list[str]:
        async def job() -> str:
            return name.get()

        return await io.gather([job] * 3, 2)

    assert finish(colour, work) == ["the caller's"] * 3


@pytest.mark.parametrize(("count", "limit"), [(1, 8), (3, 1)])
def test_what_goes_one_after_another_stays_where_the_caller_is(colour: str, count: int, limit: int) -> None:
    async def where() -> tuple[threading.Thread, Any]:
        return threading.current_thread(), asyncio.current_task() if colour == "async" else None

    async def work(io: IO) -> bool:
        return await io.gather([where] * count, limit) == [await where()] * count

    assert finish(colour, work)


def test_a_failure_is_told_while_others_are_still_at_work() -> None:
    release = threading.Event()

    async def works() -> None:
        release.wait(30)

    async def fails() -> None:
        raise LookupError("one")

    try:
        with pytest.raises(LookupError):
            run(BLOCKING.gather([works, fails], 2))
        assert not release.is_set()
    finally:
        release.set()


def test_a_failure_ends_the_waits_of_nested_groups_as_well() -> None:
    ended = threading.Semaphore(0)
    both = threading.Barrier(3)

    async def waits() -> None:
        both.wait(10)
        try:
            await BLOCKING.sleep(30)
        finally:
            ended.release()

    async def inner() -> None:
        await BLOCKING.gather([waits, waits], 2)

    async def fails() -> None:
        both.wait(10)
        raise LookupError("one")

    with pytest.raises(LookupError):
        run(BLOCKING.gather([inner, fails], 2))
    for _ in range(2):
        assert ended.acquire(timeout=10)


def test_threads_have_names_that_say_whose_they_are() -> None:
    async def job() -> str:
        return threading.current_thread().name

    async def offloaded() -> str:
        return await BLOCKING.offload(lambda: threading.current_thread().name, Deadline(5))

    for name in (*run(BLOCKING.gather([job] * 2, 2)), run(offloaded())):
        assert name.startswith("rerankkit_")


def test_a_failure_stops_what_has_not_begun_and_what_waits(colour: str) -> None:
    begun: list[int] = []
    ended: list[str] = []

    async def work(io: IO) -> None:
        async def job(number: int) -> None:
            begun.append(number)
            if number == 1:
                raise LookupError("one")
            try:
                await io.sleep(30)
            except BaseException as error:
                ended.append(type(error).__name__)
                raise

        await io.gather([lambda number=number: job(number) for number in range(20)], 2)

    before = threading.active_count()
    with pytest.raises(LookupError):
        finish(colour, work)
    until(lambda: threading.active_count() <= before)
    assert ended == ["CancelledError"] * len(ended)
    assert 0 in begun
    assert len(begun) == len(ended) + 1 <= 3


def test_a_request_is_not_sent_once_another_has_failed() -> None:
    http = Http()
    halt = Halt()

    async def send() -> HttpResponse:
        return await BLOCKING.send(http, REQUEST, DEADLINE)  # type: ignore[arg-type]

    assert run(send()) is REPLY
    for is_set in (False, True):
        context = contextvars.copy_context()
        context.run(HALT.set, halt)
        if is_set:
            halt.set()
            with pytest.raises(CancelledError):
                context.run(run, send())
        else:
            assert context.run(run, send()) is REPLY
    assert http.sent == [(REQUEST, DEADLINE)] * 2


def test_a_wait_ends_once_another_has_failed() -> None:
    halt = Halt()
    halt.set()
    context = contextvars.copy_context()
    context.run(HALT.set, halt)
    with pytest.raises(CancelledError):
        context.run(run, BLOCKING.sleep(30))


# Races


def never(_: Exception) -> bool:
    return False


def always(_: Exception) -> bool:
    return True


def after(io: IO, seconds: float, outcome: object) -> Callable[[], Coroutine[Any, Any, Any]]:
    """A job that gives, or raises, *outcome*."""

    async def job() -> Any:
        await io.sleep(seconds)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    return job


@pytest.mark.parametrize("winner", [0, 1, 2])
def test_the_first_success_wins_a_race(colour: str, winner: int) -> None:
    async def work(io: IO) -> int:
        return await io.race([after(io, 0.02 if place == winner else 30, place) for place in range(3)], always)

    started = time.monotonic()
    assert finish(colour, work) == winner
    assert time.monotonic() - started < 10


def test_a_race_of_one_gives_its_result_or_its_failure(colour: str) -> None:
    assert finish(colour, lambda io: io.race([after(io, 0, 42)], always)) == 42
    for ends in (always, never):
        with pytest.raises(LookupError, match="one"):
            finish(colour, lambda io, ends=ends: io.race([after(io, 0, LookupError("one"))], ends))


@pytest.mark.parametrize("winner", [0, 1])
def test_losers_are_told_to_end(colour: str, winner: int) -> None:
    ended: list[str] = []
    gone = threading.Event()

    async def work(io: IO) -> str:
        async def waits() -> str:
            try:
                await io.sleep(60)
            except BaseException as error:
                ended.append(type(error).__name__)
                raise
            finally:
                gone.set()
            return "late"

        jobs = [waits, waits]
        jobs[winner] = after(io, 0.05, "won")
        return await io.race(jobs, always)

    assert finish(colour, work) == "won"
    assert gone.wait(10)
    assert ended == ["CancelledError"]


def test_losers_in_a_loop_have_cleaned_up_when_the_race_is_over() -> None:
    cleaned: list[str] = []

    async def waits() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.02)
            cleaned.append("up")

    async def scenario() -> None:
        await ASYNC.race([waits, after(ASYNC, 0.01, None), waits], always)
        assert cleaned == ["up", "up"]
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(scenario())


@pytest.mark.parametrize("place", [0, 1])
def test_a_loser_that_cannot_be_woken_holds_nobody_back(colour: str, place: int) -> None:
    """Such as one that looks up a name, or a reranker of the user's own that blocks."""
    release = threading.Event()

    async def work(io: IO) -> str:
        async def stubborn() -> str:
            return await io.offload(lambda: str(release.wait(30)), Deadline(60))

        jobs = [after(io, 0.05, "won")] * 2
        jobs[place] = stubborn
        return await io.race(jobs, always)

    async def in_loop() -> str:
        try:
            return await work(ASYNC)
        finally:
            release.set()  # a loop that closes waits for its threads

    started = time.monotonic()
    try:
        assert (asyncio.run(in_loop()) if colour == "async" else run(work(BLOCKING))) == "won"
        assert time.monotonic() - started < 10
    finally:
        release.set()


@pytest.mark.parametrize("place", [0, 1])
def test_a_failure_that_ends_a_race_is_raised_at_once(colour: str, place: int) -> None:
    async def work(io: IO) -> None:
        jobs = [after(io, 60, "late")] * 2
        jobs[place] = after(io, 0.02, LookupError("decides"))
        await io.race(jobs, lambda error: isinstance(error, LookupError))

    started = time.monotonic()
    with pytest.raises(LookupError, match="decides"):
        finish(colour, work)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("place", [0, 1])
def test_after_another_failure_the_rest_goes_on(colour: str, place: int) -> None:
    async def work(io: IO) -> str:
        jobs = [after(io, 0.1, "won")] * 2
        jobs[place] = after(io, 0, LookupError("decides nothing"))
        return await io.race(jobs, lambda error: not isinstance(error, LookupError))

    assert finish(colour, work) == "won"


@pytest.mark.parametrize("pauses", [(0.0, 0.05, 0.1), (0.1, 0.05, 0.0)])
def test_when_all_fail_it_is_the_first_jobs_failure_that_is_raised(colour: str, pauses: tuple[float, ...]) -> None:
    async def work(io: IO) -> None:
        await io.race([after(io, pause, LookupError(place)) for place, pause in enumerate(pauses)], never)

    with pytest.raises(LookupError) as caught:
        finish(colour, work)
    assert caught.value.args == (0,)


def test_who_gave_up_by_itself_did_not_fail_first(colour: str) -> None:
    cancelled = CancelledError() if colour == "sync" else asyncio.CancelledError()

    async def work(io: IO) -> None:
        await io.race([after(io, 0, cancelled), after(io, 0.02, LookupError("two"))], never)

    with pytest.raises(LookupError, match="two"):
        finish(colour, work)


def test_races_and_gatherings_within_do_not_halt_what_is_around_them(colour: str) -> None:
    async def work(io: IO) -> list[str]:
        async def inner() -> str:
            found = await io.race([after(io, 0.01, "won"), after(io, 60, "late")], always)
            with pytest.raises(LookupError):
                await io.gather([after(io, 0.01, LookupError("one")), after(io, 60, "late")], 2)
            await io.sleep(0.01)
            return await io.race([after(io, 60, "late"), after(io, 0.01, found)], always)

        return await io.gather([inner, inner], 2)

    assert finish(colour, work) == ["won", "won"]


def test_the_end_of_a_race_ends_the_races_and_gatherings_within(colour: str) -> None:
    ended = threading.Semaphore(0)
    begun = threading.Semaphore(0)

    async def work(io: IO) -> str:
        async def waits() -> None:
            begun.release()
            try:
                await io.sleep(60)
            finally:
                ended.release()

        async def winner() -> str:
            while begun._value < 4:
                await io.sleep(0.01)
            return "won"

        jobs = [lambda: io.race([waits, waits], always), lambda: io.gather([waits, waits], 2), winner]
        return await io.race(jobs, always)

    assert finish(colour, work) == "won"
    for _ in range(4):
        assert ended.acquire(timeout=10)


def test_the_callers_cancellation_ends_all_of_a_race() -> None:
    ended: list[int] = []

    async def waits() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(1)

    async def scenario() -> None:
        task = asyncio.create_task(ASYNC.race([waits, waits], never))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended == [1, 1]

    asyncio.run(scenario())


def test_the_callers_interruption_ends_all_of_a_race() -> None:
    """Ctrl-C comes to the main thread, which waits."""
    begun = threading.Semaphore(0)
    ended = threading.Semaphore(0)

    async def waits() -> None:
        begun.release()
        try:
            await BLOCKING.sleep(60)
        finally:
            ended.release()

    def interrupt() -> None:
        for _ in range(2):
            begun.acquire()
        time.sleep(0.05)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, interrupted)
    started = time.monotonic()
    try:
        threading.Thread(target=interrupt, daemon=True).start()
        with pytest.raises(KeyboardInterrupt):
            run(BLOCKING.race([waits, waits], never))
        assert time.monotonic() - started < 30
        for _ in range(2):
            assert ended.acquire(timeout=10)
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_context_variables_reach_the_runners_of_a_race(colour: str) -> None:
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name")
    name.set("the caller's")

    async def work(io: IO) -> str:
        async def job() -> str:
            found = name.get()
            name.set("changed")
            return found

        return await io.race([job], always)

    assert finish(colour, work) == "the caller's"
    assert name.get() == "the caller's"


def test_a_failed_race_leaves_no_garbage(colour: str) -> None:
    class FailureError(Exception):
        pass

    async def fails() -> None:
        raise FailureError

    async def work(io: IO) -> None:
        await io.race([fails, after(io, 60, "late")], always)

    async def in_loop() -> None:
        with pytest.raises(FailureError):
            await work(ASYNC)

    gc.collect()
    gc.disable()
    try:
        if colour == "sync":
            with pytest.raises(FailureError):
                run(work(BLOCKING))
        else:
            asyncio.run(in_loop())
        until(lambda: not any(isinstance(found, FailureError) for found in gc.get_objects()))
    finally:
        gc.enable()


# Waiting for others


def test_a_result_that_another_thread_sets_is_waited_for(colour: str) -> None:
    future: Future[str] = Future()
    threading.Timer(0.05, future.set_result, ("done",)).start()
    assert finish(colour, lambda io: io.wait(future, Deadline(30))) == "done"


def test_a_failure_that_another_thread_sets_is_raised(colour: str) -> None:
    future: Future[str] = Future()
    threading.Timer(0.05, future.set_exception, (LookupError("theirs"),)).start()
    with pytest.raises(LookupError, match="theirs"):
        finish(colour, lambda io: io.wait(future, Deadline(30)))


def test_a_result_that_does_not_come_in_time_is_a_timeout(colour: str) -> None:
    with pytest.raises(TimeoutError):
        finish(colour, lambda io: io.wait(Future(), Deadline(0.05)))


def test_a_result_that_is_there_is_given_however_late_it_is(colour: str) -> None:
    future: Future[str] = Future()
    future.set_result("there")
    assert finish(colour, lambda io: io.wait(future, Deadline(-1))) == "there"


def test_many_wait_for_one_result(colour: str) -> None:
    future: Future[str] = Future()

    async def work(io: IO) -> list[str]:
        async def sets() -> str:
            await io.sleep(0.05)
            future.set_result("done")
            return "set"

        return await io.gather([lambda: io.wait(future, Deadline(30))] * 4 + [sets], 8)

    assert finish(colour, work) == [*["done"] * 4, "set"]


def test_a_loser_that_waits_for_a_result_is_woken(colour: str) -> None:
    gone = threading.Event()

    async def work(io: IO) -> str:
        async def waits() -> str:
            try:
                return await io.wait(Future(), Deadline(60))
            finally:
                gone.set()

        return await io.race([waits, after(io, 0.02, "won")], always)

    assert finish(colour, work) == "won"
    assert gone.wait(10)


def test_a_result_for_a_loop_that_is_closed_troubles_nobody() -> None:
    future: Future[str] = Future()
    with pytest.raises(TimeoutError):
        asyncio.run(ASYNC.wait(future, Deadline(0.01)))
    future.set_result("too late")


# Rerankers of others


class Foreign:
    """A reranker that knows nothing of an `IO`."""

    def __init__(self) -> None:
        self.called: list[tuple[Any, ...]] = []

    def rerank(self, query: str, documents: Any, *, top_n: int | None = None, timeout: float | None = None) -> Any:
        self.called.append(("sync", query, documents, top_n, timeout))
        return "answer"

    async def arerank(self, query: str, documents: Any, *, top_n: int | None = None, timeout: float | None = None) -> Any:
        self.called.append(("async", query, documents, top_n, timeout))
        return "answer"


def test_a_foreign_reranker_is_called_in_the_callers_colour_with_the_time_left(colour: str) -> None:
    foreign = Foreign()
    deadline = Deadline(30)
    request = RerankRequest("q", ("a", "b"), ("a", "b"), 1, deadline)
    assert finish(colour, lambda io: io.call(foreign, request)) == "answer"
    ((called, query, documents, top_n, timeout),) = foreign.called
    assert (called, query, documents, top_n) == (colour, "q", ("a", "b"), 1)
    assert 0 < timeout <= 30


# In an event loop


def test_a_request_in_a_loop_ends_with_its_deadline() -> None:
    async def scenario() -> None:
        assert await ASYNC.send(Http(), REQUEST, DEADLINE) is REPLY  # type: ignore[arg-type]
        with pytest.raises(TimeoutError):
            await ASYNC.send(Http(asyncio.Event().wait), REQUEST, Deadline(0.05))  # type: ignore[arg-type]
        with pytest.raises(TimeoutError):
            await ASYNC.send(Http(asyncio.Event().wait), REQUEST, Deadline(-1))  # type: ignore[arg-type]

    asyncio.run(scenario())


@pytest.mark.parametrize("ending", [None, LookupError("while it was cleaning up")], ids=["well", "badly"])
def test_a_cancelled_request_cleans_up_before_it_is_gone(ending: Exception | None) -> None:
    """Shielded from scopes, as HTTP libraries do it."""
    cleaned: list[str] = []
    unseen: list[Any] = []

    async def job() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            with anyio.CancelScope(shield=True):
                await asyncio.sleep(0.02)
            cleaned.append("up")
            if ending:
                raise ending

    async def scenario() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, told: unseen.append(told))
        task = asyncio.create_task(ASYNC.send(Http(job), REQUEST, DEADLINE))  # type: ignore[arg-type]
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert cleaned == ["up"]
        del task
        gc.collect()

    asyncio.run(scenario())
    assert unseen == []


def test_a_loop_is_needed_and_what_to_do_without_one_is_told() -> None:
    async def inside() -> None:
        check_loop()

    asyncio.run(inside())
    with pytest.raises(InvalidRequestError, match=r"need asyncio's event loop.*trio\.to_thread\.run_sync") as caught:
        check_loop()
    assert caught.value.__suppress_context__


def test_offloaded_work_gives_its_result_or_its_error(colour: str) -> None:
    async def work(io: IO) -> int:
        return await io.offload(lambda: 6 * 7, Deadline(1))

    async def failing(io: IO) -> int:
        return await io.offload(lambda: 1 // 0, Deadline(1))

    assert finish(colour, work) == 42
    with pytest.raises(ZeroDivisionError):
        finish(colour, failing)


def test_offloaded_work_does_not_stop_the_loop() -> None:
    async def scenario() -> int:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.01)

        ticking = asyncio.create_task(tick())
        await ASYNC.offload(lambda: time.sleep(0.2), Deadline(1))
        ticking.cancel()
        return ticks

    assert asyncio.run(scenario()) > 5


def test_offloaded_work_cannot_outlast_the_deadline_in_a_loop() -> None:
    async def scenario() -> None:
        await ASYNC.offload(lambda: time.sleep(0.5), Deadline(0.1))

    with pytest.raises(TimeoutError):
        asyncio.run(scenario())


def test_offloaded_work_is_not_waited_for_after_the_deadline() -> None:
    release = threading.Event()
    with pytest.raises(TimeoutError):
        run(BLOCKING.offload(lambda: release.wait(30), Deadline(0.05)))
    assert not release.is_set()
    release.set()


def test_offloaded_work_knows_the_callers_context(colour: str) -> None:
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name")
    name.set("the caller's")

    async def work(io: IO) -> str:
        return await io.offload(name.get, Deadline(5))

    assert finish(colour, work) == "the caller's"


def test_a_coroutine_that_is_found_out_is_closed() -> None:
    closed: list[bool] = []

    async def wrong() -> None:
        try:
            await asyncio.sleep(0)
        finally:
            closed.append(True)

    coroutine = wrong()
    with pytest.raises(RuntimeError):
        run(coroutine)
    assert closed == [True]


def test_a_coroutine_that_awaits_something_else_is_found_out() -> None:
    async def wrong() -> None:
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="something else than its IO"):
        run(wrong())
