"""The connection pools that one process has open for one client: one for blocking calls, one more each event loop."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import NamedTuple

from rerankkit._library import AsyncPool, build_ssl_context, open_async, open_blocking
from rerankkit._over_httpx import HttpxPool
from rerankkit._wire import Transport

MAX_CONNECTIONS: dict[Transport, int] = {"httpx": 200, "httpx2": 200, "aiohttp": 500}
"""Of one event loop; who finds none free waits its turn here.  More would not serve more: with these httpx and httpx2 keep a
processor busy, and a process may usually have 1,024 files open."""
MAX_BLOCKING = 100  # of all threads, in one pool


class LoopPool(NamedTuple):
    """An event loop's pool.

    Attributes:
        slots: As many as the pool may have connections. Others wait in line here.
        keeper: The generator that closes the pool with the loop.
    """

    pool: AsyncPool
    slots: asyncio.Semaphore
    keeper: AsyncGenerator[None]


class Pools:
    """The pools one process has opened for one client.

    Attributes:
        slots: One for each connection that blocking calls may have at a time; whoever takes one puts it back.
    """

    def __init__(self, url: str, transport: Transport) -> None:
        self._url = url
        self._transport: Transport = transport
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._closed = False
        self.slots = _filled(MAX_BLOCKING)
        self._blocking: HttpxPool | None = None
        self._of_loops: dict[asyncio.AbstractEventLoop, LoopPool] = {}
        self._building: dict[asyncio.AbstractEventLoop, asyncio.Lock] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def is_own(self) -> bool:
        """Whether this process opened them."""
        return self._pid == os.getpid()

    def blocking(self) -> HttpxPool:
        with self._lock:
            if self._blocking is None:
                self._blocking = open_blocking(self._url, self._transport, lambda: self._closed)
            return self._blocking

    async def of_loop(self) -> LoopPool:
        loop = asyncio.get_running_loop()
        if loop not in self._of_loops:
            await self._build_once(loop)
        found = self._of_loops.get(loop)
        if found is None:
            self._forget_closed_loops()
            most = MAX_CONNECTIONS[self._transport]
            pool = open_async(self._url, self._transport, lambda: self._closed, most)
            slots = asyncio.Semaphore(most)
            found = self._of_loops[loop] = LoopPool(pool, slots, self._keep(loop, pool))
            await anext(found.keeper)
        return found

    async def _build_once(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have the first call build what all that begin with it wait for."""
        try:
            async with self._building.setdefault(loop, asyncio.Lock()):
                await build_ssl_context(self._url, self._transport)
        finally:
            self._building.pop(loop, None)  # a lock that was waited for holds its loop

    async def _keep(self, loop: asyncio.AbstractEventLoop, pool: AsyncPool) -> AsyncGenerator[None]:
        """Closes *pool* with its loop, which ends the async generators that are still open before it closes."""
        try:
            yield
        finally:
            self._of_loops.pop(loop, None)
            await pool.aclose()

    def _forget_closed_loops(self) -> None:
        """Drop the pools of loops that were closed without ending their generators; nobody can close these pools now."""
        for loop in self._loops():
            if loop.is_closed():
                self._of_loops.pop(loop, None)

    def _loops(self) -> Sequence[asyncio.AbstractEventLoop]:
        """Those that have a pool now; other threads come with theirs, and go, meanwhile."""
        return list(self._of_loops)

    def close(self) -> None:
        """Close what blocking calls opened, if this process did."""
        if self.is_own():
            self._closed = True
            with self._lock:
                pool, self._blocking = self._blocking, None
            if pool is not None:
                pool.close()

    def abandon(self) -> None:
        """Close everything: nobody can use it any more. Each loop closes what it has open in one of its next turns."""
        self.close()
        for loop in self._loops() if self.is_own() else ():
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._begin_closing, loop)

    def _begin_closing(self, loop: asyncio.AbstractEventLoop) -> None:
        self._closing.add(loop.create_task(self.close_loop()))

    async def close_loop(self) -> None:
        """Close what the running loop opened, if this process did."""
        found = self._of_loops.get(asyncio.get_running_loop()) if self.is_own() else None
        if found is not None:
            await found.keeper.aclose()


def _filled(count: int) -> SimpleQueue[None]:
    """A semaphore, in effect: Python's own is written in Python, and took 8 us a call, this one takes less than one."""
    slots: SimpleQueue[None] = SimpleQueue()
    for _ in range(count):
        slots.put(None)
    return slots
