"""Forked children that say what went wrong in them, and what a process holds open."""

from __future__ import annotations

import os
import signal
import threading
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

LONGEST = 60  # seconds; a child that hangs ends by itself


@dataclass
class Child:
    """A forked child.

    Attributes:
        report: A pipe that it writes to when it fails.
    """

    pid: int
    report: int

    def failure(self) -> str:
        """What went wrong, waited for; empty if nothing did."""
        with os.fdopen(self.report, "rb") as report:
            said = report.read().decode()
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return said or ("" if code == 0 else f"the child ended with {code}")


def fork(work: Callable[[], object]) -> Child:
    """A child that does *work* and ends there."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: threads do not fork along; that is what is tried
        pid = os.fork()
    if pid:
        os.close(writing)
        return Child(pid, reading)
    signal.alarm(LONGEST)
    try:
        work()
    except BaseException:  # noqa: BLE001 -- the parent reads what it was
        os.write(writing, traceback.format_exc().encode())
        os._exit(1)
    os._exit(0)


@dataclass(frozen=True)
class Held:
    """What this process holds open."""

    descriptors: int
    threads: int

    @classmethod
    def now(cls) -> Held:
        return cls(len(list(Path("/proc/self/fd").iterdir())), threading.active_count())


def resident_memory() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
