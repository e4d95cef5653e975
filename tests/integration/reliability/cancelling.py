"""Calls that are ended at chosen points, and the pool that must be whole after them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from random import Random
from typing import Any
from uuid import uuid4

import anyio

from integration.reliability.echo import TEXTS, acheck_all, is_right, queries
from integration.reliability.fault_server import Stage
from integration.reliability.faults import Fault, Later, good
from integration.reliability.mixture import Dripped, Together
from rerankkit import Client, DeadlineExceededError
from rerankkit._over_httpx import HttpxPool
from rerankkit._pools import MAX_CONNECTIONS

AT_ONCE = 100  # calls that a whole pool serves at a time, over any transport
CROWD = 250  # calls of a storm: some wait for a connection
LATE = 0.1  # seconds until the last of them is ended

PACES: tuple[Fault, ...] = (good, Later(0.002), Later(0.02), Dripped(5, 0.001), Dripped(20, 0.001))

Call = Callable[[], Coroutine[Any, Any, object]]


async def cancelled_after_turns(call: Call, turns: int) -> bool:
    """Whether a call was still under way, and so was cancelled, after so many turns of the event loop."""
    task = asyncio.create_task(call())
    for _ in range(turns):
        await asyncio.sleep(0)
    return await _cancelled(task)


async def cancelled_at_step(call: Call, step: int) -> bool:
    """The same at a step: each stretch between two waits of the call's task and of those that it starts is one."""
    loop = asyncio.get_running_loop()
    steps = iter(range(step, -1, -1))

    def count() -> None:
        if next(steps, None) == 0:
            task.cancel()

    loop.set_task_factory(lambda loop, coroutine, **options: asyncio.Task(_Stepped(coroutine, count), loop=loop, **options))
    try:
        task = loop.create_task(call())
        await asyncio.wait([task])
        return await _cancelled(task)
    finally:
        loop.set_task_factory(None)


async def _cancelled(task: asyncio.Task[object]) -> bool:
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return True
    return False


class _Stepped(Coroutine[Any, Any, Any]):
    """A coroutine that tells before each of its steps."""

    def __init__(self, inner: Coroutine[Any, Any, Any], tell: Callable[[], None]) -> None:
        self._inner = inner
        self._tell = tell

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)  # anyio looks whether a task's coroutine runs

    def send(self, value: Any) -> Any:
        self._tell()
        return self._inner.send(value)

    def throw(self, *error: Any) -> Any:
        self._tell()
        return self._inner.throw(*error)

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Generator[Any, None, Any]:
        return (yield from self._inner.__await__())


async def _by_cancelling(client: Client, query: str, seconds: float) -> bool:
    task = asyncio.create_task(_asked(client, query))
    await asyncio.sleep(seconds)
    return await _cancelled(task)


async def _by_wait_for(client: Client, query: str, seconds: float) -> bool:
    try:
        await asyncio.wait_for(_asked(client, query), seconds)
    except TimeoutError:
        return True
    return False


async def _by_timeout(client: Client, query: str, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await _asked(client, query)
    except TimeoutError:
        return True
    return False


async def _by_scope(client: Client, query: str, seconds: float) -> bool:
    with anyio.move_on_after(seconds) as scope:
        await _asked(client, query)
    return scope.cancelled_caught


async def _by_deadline(client: Client, query: str, seconds: float) -> bool:
    try:
        await _asked(client, query, max(seconds, 1e-4))
    except DeadlineExceededError:
        return True
    return False


async def _asked(client: Client, query: str, timeout: float | None = None) -> None:
    assert is_right(await client.arerank(query, TEXTS, timeout=timeout), query), query


ENDINGS: tuple[Callable[[Client, str, float], Awaitable[bool]], ...] = (
    _by_cancelling,
    _by_wait_for,
    _by_timeout,
    _by_scope,
    _by_deadline,
)


async def storm(client: Client, stage: Stage, chance: Random) -> int:
    """How many of a crowd of calls, each ended in some way at some time, did not come to their answer."""
    stage.sometimes(1.0, PACES, chance.randrange(1_000))
    calls = [chance.choice(ENDINGS)(client, f"storm {number}", LATE * chance.random() ** 2) for number in range(CROWD)]
    return sum(await asyncio.gather(*calls))


async def storms(client: Client, stage: Stage, count: int, seed: object, tell: Callable[[int], object] = bool) -> int:
    """How many calls were ended before their answer, at least *count*; the pool is whole after each storm."""
    chance, ended = Random(str(seed)), 0
    await acheck_all(client, ["what is needed is imported"])
    while ended < count:
        ended += await storm(client, stage, chance)
        await assert_whole(client, stage)
        tell(ended)
    return ended


async def assert_whole(client: Client, stage: Stage) -> None:
    """The pool of the running loop has nobody in it, and serves as many calls at a time as ever."""
    found = client._http._pools._of_loops[asyncio.get_running_loop()]
    assert not taken(found.pool), "by calls that have ended"
    assert found.slots._value == MAX_CONNECTIONS[client._http.transport]
    word = uuid4().hex
    stage.heal()
    stage.always(Together(AT_ONCE, word))
    await acheck_all(client, queries(word, AT_ONCE))
    stage.heal()
    assert not taken(found.pool)


def taken(pool: Any) -> Any:
    """Connections of *pool* that calls have."""
    if not isinstance(pool, HttpxPool):
        return pool.connector._acquired
    assert all(one.is_idle() or one.is_closed() for one in pool.connections.kept), "a connection kept for the next call is busy"
    return pool.connections.taken
