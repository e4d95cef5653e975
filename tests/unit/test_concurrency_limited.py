"""So many calls at a time and no more, threads and tasks together, whatever becomes of those who wait."""

from __future__ import annotations

import asyncio
import copy
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.patience import until
from helpers.processes import fork
from helpers.ways import outrun, run
from rerankkit import (
    BaseReranker,
    DeadlineExceededError,
    InvalidRequestError,
    RateLimitError,
    RerankResponse,
    ServerError,
)
from rerankkit.errors import BadRequestError, RerankError
from rerankkit.resilience import Fallback, Passthrough
from rerankkit.resilience._limits.places import Place, Places
from rerankkit.resilience.concurrency_limited import ConcurrencyLimited
from rerankkit.resilience.rate_limited import RateLimited
from rerankkit.testing import FakeReranker


class Gate(BaseReranker):
    """Holds each call until it is told to let it go, and knows how many it holds."""

    def __init__(self) -> None:
        self.held: list[tuple[str, Future[Exception | None]]] = []
        self.most = 0
        self.seen: list[str] = []
        self._under_way = 0
        self._lock = threading.Lock()

    async def _rerank(self, io: Any, request: Any) -> Any:
        leave: Future[Exception | None] = Future()
        with self._lock:
            self._under_way += 1
            self.most = max(self.most, self._under_way)
            self.seen.append(request.query)
            self.held.append((request.query, leave))
        try:
            error = await io.wait(leave, request.deadline)
        finally:
            with self._lock:
                self._under_way -= 1
        if error is not None:
            raise error
        return RerankResponse((), provider="gate")

    def let_go(self, count: int = 1, error: Exception | None = None) -> None:
        for _ in range(count):
            until(lambda: bool(self.held))
            self.held.pop(0)[1].set_result(error)


class Callers:
    """Calls in threads, each of its own colour."""

    def __init__(self, limited: ConcurrencyLimited) -> None:
        self.limited = limited
        self.pool = ThreadPoolExecutor(64)

    def call(self, colour: str, query: str = "q", timeout: float = 20) -> Future[Any]:
        return self.pool.submit(run, colour, self.limited, "rerank", query, ["a"], timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.pool.shutdown()


def waiting(limited: ConcurrencyLimited) -> int:
    return len(limited._places._waiting)


def held(limited: ConcurrencyLimited) -> int:
    return len(limited._places._held)


def test_no_more_calls_than_allowed_are_under_way_in_both_colours() -> None:
    limited = ConcurrencyLimited(gate := Gate(), 3)
    with Callers(limited) as callers:
        futures = [callers.call(("sync", "async")[number % 2]) for number in range(12)]
        until(lambda: held(limited) == 3 and waiting(limited) == 9)
        assert limited.limit == 3
        gate.let_go(12)
        assert [future.result().provider for future in futures] == ["gate"] * 12
    assert (gate.most, held(limited), waiting(limited)) == (3, 0, 0)


def test_who_comes_first_is_served_first_whatever_the_colour() -> None:
    limited = ConcurrencyLimited(gate := Gate(), 1)
    with Callers(limited) as callers:
        futures = []
        for number in range(8):
            futures.append(callers.call(("sync", "async")[number % 2], f"query {number}"))
            until(lambda number=number: held(limited) + waiting(limited) == number + 1)
        gate.let_go(8)
        for future in futures:
            future.result()
    assert gate.seen == [f"query {number}" for number in range(8)]


def test_answers_come_through_as_they_are(colour: str) -> None:
    limited = ConcurrencyLimited(FakeReranker({"b": 1.0}), 2)
    response = run(colour, limited, "rerank", "q", ["a", "b"], top_n=1)
    assert [(result.index, result.relevance_score) for result in response] == [(1, 1.0)]
    assert [turn.reranker for turn in response.attempts] == ["fake:fake"]
    assert limited.label == "fake:fake"


def test_waiting_ends_with_the_deadline_and_says_what_was_waited_for(colour: str) -> None:
    limited = ConcurrencyLimited(gate := Gate(), 1)
    with Callers(limited) as callers:
        first = callers.call("sync")
        until(lambda: held(limited) == 1)
        began = time.monotonic()
        with pytest.raises(DeadlineExceededError, match="nothing was sent: 1 calls were under way") as caught:
            run(colour, limited, "rerank", "q", ["a"], timeout=0.1)
        assert 0.09 < time.monotonic() - began < 5
        assert caught.value.attempts == 0
        assert (len(gate.seen), waiting(limited)) == (1, 0)
        gate.let_go()
        first.result()
        second = callers.call(colour)
        gate.let_go()
        second.result()


def test_a_fallback_passes_on_what_waited_in_vain(colour: str) -> None:
    limited = ConcurrencyLimited(gate := Gate(), 1)
    with Callers(limited) as callers:
        first = callers.call("sync")
        until(lambda: held(limited) == 1)
        assert run(colour, Fallback(limited, Passthrough()), "rerank", "q", ["a"], timeout=0.05).served_by == "passthrough"
        gate.let_go()
        first.result()


@pytest.mark.parametrize("error", [ServerError("no"), RuntimeError("no")], ids=lambda error: type(error).__name__)
def test_a_failed_call_frees_its_place(colour: str, error: Exception) -> None:
    fake = FakeReranker()
    fake.fail(error, times=3)
    limited = ConcurrencyLimited(fake, 1)
    for _ in range(3):
        with pytest.raises(type(error)):
            run(colour, limited, "rerank", "q", ["a"], timeout=5)
    assert len(run(colour, limited, "rerank", "q", ["a"], timeout=5)) == 1


def test_cancelled_tasks_free_places_held_and_places_waited_for() -> None:
    async def main() -> None:
        limited = ConcurrencyLimited(FakeReranker(latency=60), 2, timeout=90)
        tasks = [asyncio.create_task(limited.arerank("q", ["a"])) for _ in range(6)]
        await asyncio.sleep(0.02)
        assert (held(limited), waiting(limited)) == (2, 4)
        tasks[4].cancel()
        tasks[0].cancel()
        await asyncio.wait([tasks[0], tasks[4]])
        await asyncio.sleep(0.02)
        assert (held(limited), waiting(limited)) == (2, 2)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (held(limited), waiting(limited)) == (0, 0)

    asyncio.run(main())


def test_a_task_cancelled_at_the_moment_of_its_turn_loses_no_place() -> None:
    async def main() -> None:
        limited = ConcurrencyLimited(FakeReranker(latency=0.001), 1)
        for number in range(60):
            first = asyncio.create_task(limited.arerank("q", ["a"]))
            second = asyncio.create_task(limited.arerank("q", ["a"]))
            await first
            for _ in range(number % 4):
                await asyncio.sleep(0)
            second.cancel()
            await asyncio.gather(second, return_exceptions=True)
            assert (held(limited), waiting(limited)) == (0, 0)

    asyncio.run(main())


def test_a_thread_that_nobody_waits_for_leaves_the_line() -> None:
    limited = ConcurrencyLimited(gate := Gate(), 1, timeout=60)

    with Callers(limited) as callers:
        first = callers.call("async")
        until(lambda: held(limited) == 1)
        outrun(limited)
        until(lambda: waiting(limited) == 0)
        gate.let_go()
        first.result()
    assert (held(limited), len(gate.seen)) == (0, 1)


def test_a_loop_that_ends_with_calls_in_line_frees_them() -> None:
    limited = ConcurrencyLimited(gate := Gate(), 1, timeout=60)

    async def left() -> None:
        tasks = [asyncio.create_task(limited.arerank("q", ["a"])) for _ in range(3)]
        await asyncio.sleep(0.02)
        del tasks

    asyncio.run(left())
    assert (held(limited), waiting(limited)) == (0, 0)
    gate.held.clear()
    with Callers(limited) as callers:
        future = callers.call("sync")
        gate.let_go()
        future.result()


def test_a_forked_child_begins_with_all_places_free() -> None:
    limited = ConcurrencyLimited(gate := Gate(), 1)

    def child() -> None:
        assert limited.rerank("q", ["a"], timeout=5).provider == "gate"
        assert (held(limited), waiting(limited)) == (0, 0)

    with Callers(limited) as callers:
        futures = [callers.call("sync"), callers.call("async")]
        until(lambda: held(limited) == 1 and waiting(limited) == 1)

        def freed() -> None:
            gate.held.clear()
            threading.Thread(target=gate.let_go, daemon=True).start()
            child()

        assert fork(freed).failure() == ""
        assert (held(limited), waiting(limited)) == (1, 1)
        gate.let_go(2)
        for future in futures:
            future.result()


def taken(places: Places) -> Place:
    place = Place()
    places.take(place)
    return place


def test_an_interrupt_at_the_moment_of_its_turn_loses_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    limited = ConcurrencyLimited(FakeReranker(), 1)
    take = Places.take

    def interrupted(places: Places, place: Place) -> None:
        take(places, place)
        raise KeyboardInterrupt

    monkeypatch.setattr(Places, "take", interrupted)
    with pytest.raises(KeyboardInterrupt):
        limited.rerank("q", ["a"])
    monkeypatch.undo()
    assert limited.rerank("q", ["a"], timeout=5.0).documents == ["a"]


def test_a_place_of_the_parent_is_not_given_back_in_its_child() -> None:
    places = Places(2, 1)
    parents = [taken(places) for _ in range(3)]

    def child() -> None:
        own = taken(places)
        assert own.done()
        for place in parents:
            places.leave(place)
        assert places._held == {own}

    assert fork(child).failure() == ""
    assert [place.done() for place in parents] == [True, True, False]


# How many


def overload(colour: str, limited: ConcurrencyLimited, error: Exception) -> None:
    limited.rerankers[0].fail(error)
    with pytest.raises(type(error)):
        run(colour, limited, "rerank", "q", ["a"])


def throttled(**facts: Any) -> RateLimitError:
    return RateLimitError("too many", status_code=429, **facts)


def test_an_adaptive_limit_halves_when_it_is_throttled_and_grows_by_one_a_round(colour: str) -> None:
    limited = ConcurrencyLimited(FakeReranker(), 8, adaptive=True, least=2)
    found = []
    for error in (throttled(), ServerError("busy", status_code=503), throttled(), throttled()):
        overload(colour, limited, error)
        found.append(limited.limit)
    assert found == [4, 2, 2, 2]
    grown = []
    for _ in range(9):
        run(colour, limited, "rerank", "q", ["a"])
        grown.append(limited.limit)
    assert grown == [2, 2, 3, 3, 3, 4, 4, 4, 4]
    for _ in range(60):
        run(colour, limited, "rerank", "q", ["a"])
    assert limited.limit == 8


@pytest.mark.parametrize(
    "error",
    [
        ServerError("no", status_code=500),
        BadRequestError("no", status_code=400),
        DeadlineExceededError("late"),
        throttled(retryable=False),
    ],
    ids=lambda error: type(error).__name__,
)
def test_other_failures_say_nothing_about_how_many(colour: str, error: RerankError) -> None:
    limited = ConcurrencyLimited(FakeReranker(), 8, adaptive=True)
    overload(colour, limited, error)
    assert limited.limit == 8


def test_a_limit_of_this_programs_own_says_nothing_about_how_many(colour: str) -> None:
    limited = ConcurrencyLimited(RateLimited(FakeReranker(), requests_per_second=0.01), 8, adaptive=True)
    run(colour, limited, "rerank", "q", ["a"])
    with pytest.raises(RateLimitError):
        run(colour, limited, "rerank", "q", ["a"], timeout=1)
    assert limited.limit == 8


def test_a_limit_that_is_not_adaptive_stays(colour: str) -> None:
    limited = ConcurrencyLimited(FakeReranker(), 8)
    overload(colour, limited, throttled())
    assert limited.limit == 8


def test_answers_that_nobody_ranked_do_not_widen_the_limit(colour: str) -> None:
    limited = ConcurrencyLimited(Fallback(FakeReranker(), Passthrough()), 8, adaptive=True)
    limited._places.narrow(0)
    limited.rerankers[0].rerankers[0].fail(throttled(), times=20)
    for _ in range(20):
        assert run(colour, limited, "rerank", "q", ["a"]).status == "degraded"
    assert limited.limit == 4


def test_all_calls_of_one_burst_halve_it_once() -> None:
    limited = ConcurrencyLimited(gate := Gate(), 8, adaptive=True)
    with Callers(limited) as callers:
        futures = [callers.call(("sync", "async")[number % 2]) for number in range(10)]
        until(lambda: held(limited) == 8 and waiting(limited) == 2 and len(gate.held) == 8)
        gate.let_go(8, throttled())
        until(lambda: len(gate.held) == 2)
        assert limited.limit == 4
        gate.let_go(1, throttled())
        gate.let_go(1)
        assert sum(future.exception() is not None for future in futures) == 9
    assert limited.limit == 2


def test_a_limit_that_shrinks_lets_nobody_in_until_there_is_room() -> None:
    limited = ConcurrencyLimited(gate := Gate(), 4, adaptive=True)
    with Callers(limited) as callers:
        futures = [callers.call("sync") for _ in range(8)]
        until(lambda: len(gate.held) == 4)
        gate.let_go(1, throttled())
        until(lambda: held(limited) == 3)
        assert (limited.limit, waiting(limited)) == (2, 4)
        gate.let_go(1, ServerError("no"))
        until(lambda: held(limited) == 2)
        assert waiting(limited) == 4
        gate.let_go(6)
        for future in futures:
            future.exception()
    assert gate.most == 4


@given(st.lists(st.tuples(st.sampled_from(["take", "take", "leave", "widen", "narrow"]), st.integers(0, 9)), max_size=80))
@settings(deadline=None, max_examples=100)
def test_places_are_never_lost_nor_given_twice(steps: Sequence[tuple[str, int]]) -> None:
    places = Places(4, 1)
    asked: list[Place] = []
    for kind, number in steps:
        if kind == "take":
            asked.append(taken(places))
        elif kind == "leave" and asked:
            gone = asked.pop(number % len(asked))
            places.leave(gone)
            places.leave(gone)
        elif kind == "widen":
            places.widen()
        elif kind == "narrow":
            places.narrow(number % 3)
        given_out = [place for place in asked if place.done()]
        assert set(given_out) == places._held
        assert [place for place in asked if not place.done()] == list(places._waiting)
        assert not places._waiting or len(given_out) >= int(places.limit)
        assert 1 <= places.limit <= 4
        assert len(given_out) <= 4


def test_it_is_copied_and_shown_by_its_arguments() -> None:
    limited = ConcurrencyLimited(FakeReranker(), 3, adaptive=True, least=2, timeout=7)
    assert repr(limited) == "ConcurrencyLimited(FakeReranker(0 calls), most=3, adaptive=True, least=2, timeout=7)"
    twin = copy.copy(limited)
    assert repr(twin) == repr(limited)
    assert twin._places is not limited._places


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"most": 0}, "most must be a whole number at least 1, got 0"),
        ({"most": 2.5}, r"most must be a whole number at least 1, got 2\.5"),
        ({"least": 0}, "least must be a whole number at least 1, got 0"),
        ({"most": 4, "least": 5}, "least must be at most 4, as most= is, got 5"),
        ({"adaptive": 1}, "adaptive must be True or False, got 1"),
        ({"timeout": -1}, "timeout must be"),
    ],
    ids=str,
)
def test_what_cannot_be_right_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        ConcurrencyLimited(FakeReranker(), **options)


def test_only_a_reranker_can_be_limited() -> None:
    with pytest.raises(InvalidRequestError, match="expected a reranker"):
        ConcurrencyLimited(object())
