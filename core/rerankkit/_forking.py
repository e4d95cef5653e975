"""What a fork must not cut in two.

A child has none of its parent's other threads, and waits for ever for a lock that one of them held, such as that of a
module it was importing.  A fork waits until nothing of the kind is under way: first calls do it, later ones do not.
"""

from __future__ import annotations

import os
import threading
import weakref

UNDIVIDED = threading.RLock()
"""Held while something is under way that a fork has to wait for."""

if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(before=UNDIVIDED.acquire, after_in_parent=UNDIVIDED.release, after_in_child=UNDIVIDED.release)


def fork_lock() -> threading.Lock:
    """A lock for a moment's computing, which a forked child finds free: whoever held it is not in the child.

    What it guards must be right at every moment at which a fork may come, or not matter to the child.  It is Python's own
    lock: Ctrl-C may strike between any two steps of an ``__enter__`` that is written in Python, and leave it taken for ever.
    """
    lock = threading.Lock()
    _LOCKS.add(lock)
    return lock


_LOCKS: weakref.WeakSet[threading.Lock] = weakref.WeakSet()


def _renew_all() -> None:
    for lock in _LOCKS:
        lock._at_fork_reinit()  # type: ignore[attr-defined]  # noqa: SLF001 # pyright: ignore -- as the standard library's own


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
