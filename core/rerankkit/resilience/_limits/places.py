"""Places for calls under way, given out first come, first served, to threads and tasks alike."""

from __future__ import annotations

import os
from concurrent.futures import Future
from typing import TypeAlias

from rerankkit._forking import fork_lock

Place: TypeAlias = Future[int]
"""A caller's, or one to come; its result is the round in which it was given."""


class Places:
    """At most so many at a time.

    A forked child begins with all of them free: whoever holds one, or waits for one, is in its parent.

    Attributes:
        limit: How many there are; the part behind the point is on its way to the next one.
    """

    def __init__(self, most: int, least: int) -> None:
        self.limit = float(most)
        self._most = most
        self._least = least
        self._round = 0
        self._lock = fork_lock()
        self._pid = os.getpid()
        self._held: set[Place] = set()
        self._waiting: dict[Place, None] = {}

    def take(self, place: Place) -> None:
        """Have *place* given, now or later: whoever asks for it gives it back by `leave`, in any case."""
        with self._lock:
            self._begin_anew_in_a_child()
            self._waiting[place] = None
            given = self._given()
        _tell(given)

    def leave(self, place: Place) -> None:
        """Give *place* to the next one, or do not wait for it any more; a second time does nothing."""
        with self._lock:
            self._begin_anew_in_a_child()
            self._held.discard(place)
            self._waiting.pop(place, None)
            given = self._given()
        _tell(given)

    def widen(self) -> None:
        """A call succeeded: after as many of them as there are places, there is one more."""
        with self._lock:
            self._begin_anew_in_a_child()
            self.limit = min(self._most, self.limit + 1 / self.limit)
            given = self._given()
        _tell(given)

    def narrow(self, seen: int) -> None:
        """A call of the round *seen* was too much: there are half as many places, in a new round.

        What else was under way tells the same of the same moment, and changes nothing.
        """
        with self._lock:
            if seen == self._round:
                self._round += 1
                self.limit = max(self._least, self.limit / 2)

    def _given(self) -> list[tuple[Place, int]]:
        """Those whose turn it is, now counted as holders."""
        given: list[tuple[Place, int]] = []
        while self._waiting and len(self._held) < int(self.limit):
            place = next(iter(self._waiting))
            del self._waiting[place]
            self._held.add(place)
            given.append((place, self._round))
        return given

    def _begin_anew_in_a_child(self) -> None:
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._held, self._waiting = set(), {}


def _tell(given: list[tuple[Place, int]]) -> None:
    """Wake them, outside the lock."""
    for place, number in given:
        place.set_result(number)
