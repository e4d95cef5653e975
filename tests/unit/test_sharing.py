"""Many calls at once leave room for others in their event loop."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter

import pytest

from rerankkit import BaseReranker, RerankRequest, RerankResponse
from rerankkit._io import IO, fair_turn, sharing
from rerankkit.types import D

CALLS = 100
EACH = 0.001  # seconds that each computes


class Clock:
    """Goes on where calls compute, and nowhere else."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(sharing, "time", found)
    return found


class Computing(BaseReranker):
    """Takes a while, and notes in which turn of the loop."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.turn = 0
        self.turns: list[int] = []

    async def _rerank(self, io: IO, request: RerankRequest[D]) -> RerankResponse[D]:
        self.clock.now += EACH
        self.turns.append(self.turn)
        return RerankResponse((), request.query)

    async def count_turns(self) -> None:
        while len(self.turns) < CALLS:
            self.turn += 1
            await asyncio.sleep(0)


def test_calls_that_begin_at_once_compute_in_several_turns_and_in_their_order(clock: Clock) -> None:
    async def scenario() -> list[str]:
        counting = asyncio.create_task(reranker.count_turns())
        answers = await asyncio.gather(*(reranker.arerank(str(number), ["a"]) for number in range(CALLS)))
        await counting
        return [answer.provider for answer in answers]

    reranker = Computing(clock)
    assert asyncio.run(scenario()) == [str(number) for number in range(CALLS)]
    assert max(Counter(reranker.turns).values()) <= 5


def test_a_caller_whose_calls_wait_for_nothing_lets_others_in_as_well(clock: Clock) -> None:
    async def scenario() -> None:
        counting = asyncio.create_task(reranker.count_turns())
        for _ in range(CALLS):
            await reranker.arerank("q", ["a"])
        await counting

    reranker = Computing(clock)
    asyncio.run(scenario())
    assert max(Counter(reranker.turns).values()) <= 5


def test_a_loop_that_ended_in_the_middle_of_a_turn_leaves_the_next_one_its_own(clock: Clock) -> None:
    async def scenario() -> None:
        await fair_turn()
        clock.now += 10 * sharing.MOST_SECONDS

    for _ in range(3):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(scenario())
        loop.close()
    assert clock.now == pytest.approx(30 * sharing.MOST_SECONDS)


def test_a_loop_that_goes_on_in_another_thread_ends_its_turn_there(clock: Clock) -> None:
    async def begin() -> None:
        await fair_turn()
        clock.now += 10 * sharing.MOST_SECONDS
        loop.stop()  # at once, in the middle of the turn

    async def go_on() -> str:
        async with asyncio.timeout(2):
            await fair_turn()
        return "its turn"

    loop = asyncio.new_event_loop()
    begun = loop.create_task(begin())
    loop.run_forever()
    thread = threading.Thread(target=loop.run_until_complete, args=(asyncio.sleep(0),))
    thread.start()
    thread.join()
    assert begun.done()
    assert loop.run_until_complete(go_on()) == "its turn"
    loop.close()
