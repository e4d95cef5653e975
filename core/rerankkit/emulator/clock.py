"""The emulator's time: the machine's, moved as a test wants it."""

from __future__ import annotations

import time


class Clock:
    """What the services of one emulator take for now."""

    def __init__(self) -> None:
        self._set_ahead = 0.0
        self._passed = 0.0

    def now(self) -> float:
        """Seconds since 1970, UTC."""
        return self.dated() + self._passed

    def dated(self) -> float:
        """What a client is to take for now when it dates a request: without the time that a test let pass at once."""
        return time.time() + self._set_ahead

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass at once, for all but the dates of requests: the clients' own clock does not move along."""
        self._passed += seconds

    def set(self, moment: float) -> None:
        """Go on from *moment*, in seconds since 1970, UTC."""
        self._set_ahead, self._passed = moment - time.time(), 0.0

    def reset(self) -> None:
        """Back to the machine's time."""
        self._set_ahead = self._passed = 0.0
