"""Locks that neither a fork nor Ctrl-C leaves taken."""

from __future__ import annotations

import signal
import threading

from helpers.processes import fork
from rerankkit._forking import fork_lock


class InterruptError(Exception):
    """What Ctrl-C raises, wherever the main thread is."""


def _interrupt(*_: object) -> None:
    raise InterruptError


def test_an_interrupt_leaves_no_lock_taken() -> None:
    lock = fork_lock()
    before = signal.signal(signal.SIGALRM, _interrupt)
    try:
        for _ in range(200):
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0002)
                while True:
                    with lock:
                        pass
            except InterruptError:
                assert not lock.locked()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_child_finds_free_what_another_thread_held_at_the_fork() -> None:
    lock, is_held, may_end = fork_lock(), threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            is_held.set()
            may_end.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    is_held.wait()
    try:
        child = fork(lambda: lock.acquire(timeout=5) or _fail())
        assert child.failure() == ""
        assert lock.locked()  # here it is as it was
    finally:
        may_end.set()
        thread.join()


def _fail() -> None:
    raise AssertionError("the child waits for a lock that nobody holds")
