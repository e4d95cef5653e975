"""What one call is asking for, others wait for: threads and tasks alike, and none of them for ever."""

from __future__ import annotations

import asyncio
import gc
import random
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from helpers.caches import FailOpen, Scorer, by_text, shape, waiting
from helpers.patience import until
from helpers.processes import fork
from helpers.ways import run
from rerankkit import BadRequestError, DeadlineExceededError, RateLimitError, ServerError
from rerankkit._degrading import in_given_order
from rerankkit._halting import HALT, Halt
from rerankkit.resilience.cached import Cached
from rerankkit.resilience.stores import MemoryStore
from rerankkit.testing import FakeReranker
from rerankkit.types import CacheUse

TEXTS = [f"text {number}" for number in range(20)]


@contextmanager
def held(service: Scorer) -> Iterator[None]:
    """Meanwhile its calls do not come back."""
    service.gate.clear()
    try:
        yield
    finally:
        service.gate.set()


class Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()

    def submit(self, coroutine: Any) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()


class Callers:
    """Calls under way, of either colour."""

    def __init__(self, cached: Cached, count: int) -> None:
        self.cached = cached
        self.threads = ThreadPoolExecutor(count)
        self.loop = Loop()

    def call(self, colour: str, texts: list[str], **options: Any) -> Future[Any]:
        if colour == "sync":
            return self.threads.submit(self.cached.rerank, "q", texts, **options)
        return self.loop.submit(self.cached.arerank("q", texts, **options))


@pytest.fixture
def callers() -> Iterator[Callable[..., Callers]]:
    made: list[Callers] = []

    def make(cached: Cached, count: int = 8) -> Callers:
        made.append(Callers(cached, count))
        return made[-1]

    yield make
    for each in made:
        each.threads.shutdown()
        each.loop.close()


MIXES = {
    "sync": lambda number: "sync",
    "async": lambda number: "async",
    "mixed": lambda number: ("sync", "async")[number % 2],
}


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("listwise", [False, True], ids=["pairs", "list"])
def test_two_hundred_equal_calls_at_once_make_one_request(mix: str, listwise: bool, callers: Any) -> None:
    service = Scorer(None if listwise else by_text, price=1.0)
    cached = Cached(service)
    several = callers(cached, 200)
    with held(service):
        calls = [several.call(MIXES[mix](number), TEXTS) for number in range(200)]
        until(lambda: waiting(cached) == 199)
    answers = [call.result() for call in calls]
    assert service.sent == [TEXTS]
    assert len({shape(answer) for answer in answers}) == 1
    assert sorted(answer.cache.misses for answer in answers) == [0] * 199 + [20]
    assert sum(answer.usage.requests for answer in answers) == 1
    assert sum(answer.cost for answer in answers) == 20.0
    assert sum(answer.cache.saved for answer in answers) == 199 * 20.0
    assert len(cached._flights) == 0


@pytest.mark.parametrize("first", ["sync", "async"])
def test_only_what_nobody_is_asking_for_is_sent(first: str, colour: str, callers: Any) -> None:
    service = Scorer()
    cached = Cached(service)
    several = callers(cached)
    with held(service):
        one = several.call(first, ["a", "b"])
        until(lambda: len(service.calls) == 1)
        other = several.call(colour, ["c", "b", "a"])
        until(lambda: len(service.calls) == 2)
    assert service.sent == [["a", "b"], ["c"]]
    assert shape(other.result()) == shape(FakeReranker(by_text).rerank("q", ["c", "b", "a"]))
    assert (one.result().cache, other.result().cache) == (CacheUse(0, 2, 0.0), CacheUse(2, 1))


def test_what_another_call_kept_while_this_one_looked_is_not_sent_again(colour: str) -> None:
    class Overtaken(MemoryStore):
        def get_many(self, keys: Any) -> Any:
            found = super().get_many(keys)
            if not overtaken:
                overtaken.append(True)
                cached.rerank("q", TEXTS[:15])
            return found

    overtaken: list[bool] = []
    service = Scorer()
    cached = Cached(service, Overtaken())
    response = run(colour, cached, "rerank", "q", TEXTS)
    assert service.sent == [TEXTS[:15], TEXTS[15:]]
    assert response.cache == CacheUse(15, 5)


@pytest.mark.parametrize("leader", ["sync", "async"])
def test_who_waited_for_a_call_that_was_cancelled_asks_itself(leader: str, colour: str, callers: Any) -> None:
    service = Scorer()
    cached = Cached(service)
    several = callers(cached)
    halt = Halt()

    def halted() -> Any:
        HALT.set(halt)
        return cached.rerank("q", TEXTS)

    with held(service):
        lost = several.threads.submit(halted) if leader == "sync" else several.call("async", TEXTS)
        until(lambda: len(service.calls) == 1)
        calls = [several.call(colour, TEXTS) for _ in range(5)]
        until(lambda: waiting(cached) == 5)
        halt.set() if leader == "sync" else lost.cancel()
        until(lambda: len(service.calls) == 2 and waiting(cached) == 4)
    assert {shape(call.result()) for call in calls} == {shape(FakeReranker(by_text).rerank("q", TEXTS))}
    assert sorted(call.result().cache.misses for call in calls) == [0, 0, 0, 0, 20]
    assert len(service.calls) == 2
    with pytest.raises(CancelledError):
        lost.result()
    assert len(cached._flights) == 0


def test_who_is_cancelled_while_it_waits_does_no_harm(callers: Any) -> None:
    service = Scorer()
    cached = Cached(service)
    several = callers(cached)
    with held(service):
        first = several.call("sync", TEXTS)
        until(lambda: len(service.calls) == 1)
        lost = several.call("async", TEXTS)
        until(lambda: waiting(cached) == 1)
        lost.cancel()
        with pytest.raises(CancelledError):
            lost.result()
    assert len(first.result()) == 20
    assert len(service.calls) == 1


def test_who_waited_for_a_call_that_ran_out_of_time_asks_itself(colour: str, callers: Any) -> None:
    service = Scorer()
    cached = Cached(service)
    several = callers(cached)
    with held(service):
        hasty = several.call("sync", TEXTS, timeout=0.2)
        until(lambda: len(service.calls) == 1)
        patient = several.call(colour, TEXTS)
        with pytest.raises(DeadlineExceededError):
            hasty.result()
        until(lambda: len(service.calls) == 2)
    assert len(patient.result()) == 20


def test_who_waits_does_so_within_its_own_deadline(colour: str, callers: Any) -> None:
    service = Scorer()
    cached = Cached(service)
    several = callers(cached)
    with held(service):
        patient = several.call("sync", TEXTS)
        until(lambda: len(service.calls) == 1)
        with pytest.raises(DeadlineExceededError, match="did not answer another call about the same documents within 0.1 s"):
            several.call(colour, TEXTS, timeout=0.1).result()
    assert len(patient.result()) == 20
    assert len(service.calls) == 1


def test_a_call_that_nobody_carries_on_is_waited_for_no_longer_than_it_had_time(colour: str, callers: Any) -> None:
    """Such as a task of an event loop that was stopped."""
    service = Scorer()
    cached = Cached(service)
    several = callers(cached)
    stopped = asyncio.new_event_loop()
    with held(service):
        task = stopped.create_task(cached.arerank("q", TEXTS, timeout=0.3))
        stopped.run_until_complete(asyncio.sleep(0.05))
        calls = [several.call(colour, TEXTS) for _ in range(3)]
        until(lambda: len(service.calls) == 2 and waiting(cached) == 2)
    assert [len(call.result()) for call in calls] == [20, 20, 20]
    assert len(service.calls) == 2
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        stopped.run_until_complete(task)
    stopped.close()


def test_a_blocking_call_in_an_event_loop_does_not_wait_for_a_task_of_that_loop() -> None:
    service = Scorer()
    cached = Cached(service)

    async def main() -> None:
        service.gate.clear()
        task = asyncio.create_task(cached.arerank("q", TEXTS))
        await asyncio.sleep(0.01)
        assert len(service.calls) == 1
        service.gate.set()
        assert len(cached.rerank("q", TEXTS, timeout=10)) == 20
        assert len(service.calls) == 2
        assert len(await task) == 20

    asyncio.run(main())


@pytest.mark.parametrize("leader", ["sync", "async"])
def test_a_failure_of_the_service_is_everybodys(leader: str, colour: str, callers: Any) -> None:
    service = Scorer()
    cached = Cached(service)
    several = callers(cached)
    service.fail(RateLimitError("slower", provider="fake", retry_after=2.0))
    with held(service):
        first = several.call(leader, TEXTS)
        until(lambda: len(service.calls) == 1)
        calls = [several.call(colour, TEXTS[:5]) for _ in range(5)]
        until(lambda: waiting(cached) == 5)
    errors = [call.exception() for call in (first, *calls)]
    assert len(service.calls) == 1
    assert {(type(error), str(error), error.retry_after) for error in errors} == {
        (RateLimitError, "fake: slower (retry after 2 s)", 2.0)
    }
    assert len({id(error) for error in errors}) == 6
    assert len(several.call(colour, TEXTS).result()) == 20


def test_what_one_caller_notes_of_a_failure_no_other_sees(colour: str, callers: Any) -> None:
    service = Scorer()
    cached = Cached(service)
    several = callers(cached)
    error = RateLimitError("slower")
    error.add_note("of the service")
    service.fail(error)
    with held(service):
        calls = [several.call(colour, TEXTS)]
        until(lambda: len(service.calls) == 1)
        calls += [several.call(colour, TEXTS) for _ in range(2)]
        until(lambda: waiting(cached) == 2)
    errors = [call.exception() for call in calls]
    for number, each in enumerate(errors):
        each.add_note(f"of caller {number}")
    assert [each.__notes__ for each in errors] == [["of the service", f"of caller {number}"] for number in range(3)]


def test_a_request_that_was_wrong_is_its_callers_alone(colour: str, callers: Any) -> None:
    service = Scorer()
    cached = Cached(service)
    several = callers(cached)
    service.fail(BadRequestError("text 19 is too long"))
    with held(service):
        wrong = several.call(colour, TEXTS)
        until(lambda: len(service.calls) == 1)
        right = several.call(colour, TEXTS[:5])
        until(lambda: waiting(cached) == 1)
    assert isinstance(wrong.exception(), BadRequestError)
    assert len(right.result()) == 5
    assert service.sent[1:] == [TEXTS[:5]]


def test_failures_that_are_not_shared_do_not_put_callers_into_a_queue(colour: str, callers: Any) -> None:
    """The third time everybody asks for itself, at once."""
    service = Scorer(latency=0.05)
    cached = Cached(service)
    several = callers(cached, 6)
    service.fail(BadRequestError("no"), times=100)
    with held(service):
        calls = [several.call(colour, TEXTS) for _ in range(6)]
        until(lambda: waiting(cached) == 5)
    assert all(isinstance(call.exception(), BadRequestError) for call in calls)
    assert len(service.calls) == 6


def test_an_answer_without_a_ranking_is_everybodys(colour: str, callers: Any) -> None:
    service = Scorer()
    cached = Cached(FailOpen(service, in_given_order))
    several = callers(cached)
    service.fail(ConnectionError())
    with held(service):
        calls = [several.call(colour, TEXTS) for _ in range(5)]
        until(lambda: waiting(cached) == 4)
    assert len(service.calls) == 1
    assert {(call.result().status, call.result().results[0].index) for call in calls} == {("degraded", 0)}
    assert sorted(call.result().cache.misses for call in calls) == [0, 0, 0, 0, 20]


def test_a_forked_child_does_not_wait_for_its_parents_calls(callers: Any) -> None:
    service = Scorer()
    cached = Cached(service)
    several = callers(cached)

    def ask() -> None:
        service.gate.set()
        assert len(cached.rerank("q", TEXTS, timeout=20)) == 20
        assert len(service.calls) == 2

    with held(service):
        call = several.call("sync", TEXTS)
        until(lambda: len(service.calls) == 1)
        assert fork(ask).failure() == ""
    assert len(call.result()) == 20
    assert len(service.calls) == 1


def test_nothing_is_left_of_calls_that_failed(callers: Any) -> None:
    """Not even for the garbage collector: an error and the frames of its traceback would keep each other."""

    class Marked(str):
        __slots__ = ("__weakref__",)

    service = Scorer()
    cached = Cached(service)
    service.fail(ServerError("down"))
    text = Marked("text")
    gone = weakref.ref(text)
    gc.disable()
    try:
        with pytest.raises(ServerError):
            cached.rerank("q", [text])
        service.calls.clear()
        del text
        assert gone() is None
    finally:
        gc.enable()
    assert len(cached._flights) == 0


def test_many_calls_at_once_are_all_answered_right_whatever_fails(callers: Any) -> None:
    """Threads and tasks, overlapping lists, failures, cancellations, a store that forgets."""
    failing = random.Random(7)
    turn = threading.Lock()

    def score(query: str, text: str) -> float:
        with turn:
            if failing.random() < 0.01:
                raise ServerError("down")
        return by_text(query, text)

    cached = Cached(Scorer(score, latency=0.001), MemoryStore(entries=12))
    several = callers(cached)
    chosen = random.Random(8)

    def one(number: int) -> tuple[list[str], Future[Any]]:
        texts = chosen.sample(TEXTS, chosen.randint(1, 12))
        call = several.call(chosen.choice(["sync", "async"]), texts)
        if number % 7 == 0:
            call.cancel()
        return texts, call

    for texts, call in [one(number) for number in range(400)]:
        if not call.cancelled() and not isinstance(call.exception(60), CancelledError | ServerError):
            assert shape(call.result()) == shape(FakeReranker(by_text).rerank("q", texts))
    until(lambda: len(cached._flights) == 0)
