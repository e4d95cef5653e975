"""How calls share an event loop with everything else that runs in it.

Two hundred calls that begin at once, or whose replies arrive at once, compute for 25 ms without a pause: so long would a
heartbeat wait, or another user's request.
"""

from __future__ import annotations

import asyncio
import threading
import time

MOST_SECONDS = 0.003  # that calls compute in one turn of a loop before the next ones wait for another turn


class _Turn:
    """The running turn of a thread's event loop.

    Attributes:
        loop: None before the first call in a turn.
        began: When that first call began to compute.
    """

    loop: asyncio.AbstractEventLoop | None = None
    began = 0.0

    def seconds(self) -> float:
        """How long calls have computed in it."""
        loop, now = asyncio.get_running_loop(), time.monotonic()
        if loop is not self.loop:
            self.loop, self.began = loop, now
            loop.call_soon(self._end)
        return now - self.began

    def _end(self) -> None:
        self.loop = None


class _Turns(threading.local):
    """Each thread's own; whichever thread the loop goes on in, it ends the turn where that began."""

    def __init__(self) -> None:
        self.running = _Turn()


_TURNS = _Turns()


async def fair_turn() -> None:
    """Let others go first if calls have computed for long in this turn of the loop."""
    while _TURNS.running.seconds() > MOST_SECONDS:  # noqa: ASYNC110 -- there is nothing to wait for but the next turn
        await asyncio.sleep(0)
