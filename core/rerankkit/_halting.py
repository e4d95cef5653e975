"""How threads at work for one call are told to end: those that sleep wake, those that wait for a socket lose it."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Generator
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager, contextmanager, nullcontext

Waker = Callable[[], object]


class Halt:
    """Says once, to all threads of a gathering or a race, that nobody waits for them any more.

    Args:
        outer: The one that the calling thread itself obeys; when it is set, so is this one.
    """

    def __init__(self, outer: Halt | None = None) -> None:
        self._outer = outer
        self._lock = threading.Lock()
        self._is_set = False
        self._wakers: list[Waker] = []

    def is_set(self) -> bool:
        """Whether to end."""
        return self._is_set or (self._outer is not None and self._outer.is_set())

    def set(self) -> None:
        """Wake whoever waits, and let nobody begin anything more."""
        with self._lock:
            self._is_set = True
            wakers, self._wakers = self._wakers, []
        for wake in wakers:
            wake()

    @contextmanager
    def waking(self, wake: Waker) -> Generator[None]:
        """Have *wake* called if this is set meanwhile.

        Raises:
            CancelledError: It is set, before or after.
        """
        if self.is_set():
            raise CancelledError
        self._add(wake)
        try:
            if self._outer is None:
                yield
            else:
                with self._outer.waking(wake):
                    yield
        finally:
            self._remove(wake)
            if self.is_set():
                raise CancelledError

    def _add(self, wake: Waker) -> None:
        with self._lock:
            if not self._is_set:
                self._wakers.append(wake)
                return
        wake()

    def _remove(self, wake: Waker) -> None:
        with self._lock:
            if wake in self._wakers:
                self._wakers.remove(wake)


HALT: contextvars.ContextVar[Halt | None] = contextvars.ContextVar("rerankkit_halt", default=None)
"""What the running thread obeys; None outside of gatherings and races."""


def interruptible(wake: Waker) -> AbstractContextManager[None]:
    """A wait that *wake* ends, should nobody want its result any more.

    Raises:
        CancelledError: Nobody does.
    """
    halt = HALT.get()
    return _FREE if halt is None else halt.waking(wake)


_FREE = nullcontext()
