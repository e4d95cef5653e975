"""The connections that one process has open to one service for blocking calls, or for one event loop.

httpx's own pool looks through all of its connections at every step: 30 us of each call, and most of the time of 200 calls at
once.  Here the one used last is used first.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar


class Keepable(Protocol):
    """A connection, as far as it matters whether it is kept."""

    def can_handle_request(self, origin: Any) -> bool: ...  # noqa: ANN401 -- the library's own
    def is_idle(self) -> bool: ...
    def has_expired(self) -> bool: ...


C = TypeVar("C", bound=Keepable)


class Connections(Generic[C]):
    """The open connections of a pool: those that requests have, and those kept for the next ones.

    Args:
        make: A connection to an origin, not opened yet.
        most_kept: How many may wait for a request.
    """

    def __init__(self, make: Callable[[Any], C], most_kept: int) -> None:
        self._make = make
        self._most_kept = most_kept
        self._lock = threading.Lock()
        self._is_closed = False
        self.taken: set[C] = set()
        self.kept: deque[C] = deque()
        self._distrusted: list[C] = []

    def take(self, origin: Any) -> tuple[C, list[C]]:  # noqa: ANN401 -- the library's own
        """A connection to *origin*, the one used last or else a new one, and those to close that are of no use any more."""
        with self._lock:
            spent, self._distrusted = self._distrusted, []
            while self.kept:
                connection = self.kept.pop()
                if connection.can_handle_request(origin) and not connection.has_expired():
                    break
                spent.append(connection)
            else:
                connection = self._make(origin)
            self.taken.add(connection)
        return connection, spent

    def give_back(self, connection: C) -> list[C]:
        """Keep *connection* if it can serve again; what is to be closed."""
        with self._lock:
            self.taken.discard(connection)
            if self._is_closed or not connection.is_idle():
                return [connection]
            self.kept.append(connection)
            is_one_too_many = len(self.kept) > 1 and (len(self.kept) > self._most_kept or self.kept[0].has_expired())
            return [self.kept.popleft()] if is_one_too_many else []

    def drop(self, connection: C) -> list[C]:
        """Forget *connection*, which failed; what is to be closed."""
        with self._lock:
            self.taken.discard(connection)
            return [connection]

    def distrust_kept(self) -> None:
        """Use none again of those that wait: one of them was closed meanwhile. They are closed with the next call."""
        with self._lock:
            self._distrusted += self._unkept()

    def close(self) -> list[C]:
        """Keep none any more; what is to be closed."""
        with self._lock:
            self._is_closed = True
            return [*self.taken, *self._distrusted, *self._unkept()]

    def _unkept(self) -> list[C]:
        found = list(self.kept)
        self.kept.clear()
        return found
