"""What a fork must not cut in two.

A child has none of its parent's other threads, and waits for ever for a lock that one of them held, such as that of a
module it was importing.  A fork waits until nothing of the kind is under way: first calls do it, later ones do not.
"""

from __future__ import annotations

import os
import threading
import weakref
from types import TracebackType

UNDIVIDED = threading.RLock()
"""Held while something is under way that a fork has to wait for."""

if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(before=UNDIVIDED.acquire, after_in_parent=UNDIVIDED.release, after_in_child=UNDIVIDED.release)


class ForkLock:
    """A lock for a moment's computing, which a forked child finds free: whoever held it is not in the child.

    What it guards must be right at every moment at which a fork may come, or not matter to the child.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        _LOCKS.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._lock.release()

    def renew(self) -> None:
        """Free it, in a child."""
        self._lock = threading.Lock()


_LOCKS: weakref.WeakSet[ForkLock] = weakref.WeakSet()


def _renew_all() -> None:
    for lock in _LOCKS:
        lock.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
