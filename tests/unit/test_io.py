"""The two ways to wait: same results, first failure first, nothing left behind."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from rerankkit._io import ASYNC, BLOCKING, IO, run
from rerankkit.deadline import Deadline


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


def test_the_first_failure_ends_a_gathering_without_waiting_for_the_rest(colour: str) -> None:
    class FailureError(Exception):
        pass

    async def work(io: IO) -> None:
        async def job(number: int) -> None:
            if number == 1:
                raise FailureError("one")
            await io.sleep(1.0)

        await io.gather([lambda number=number: job(number) for number in range(20)], 4)

    started = time.monotonic()
    with pytest.raises(FailureError, match="one") as caught:
        finish(colour, work)
    assert time.monotonic() - started < 0.5
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


def test_a_coroutine_that_awaits_something_else_is_found_out() -> None:
    async def wrong() -> None:
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="something else than its IO"):
        run(wrong())
