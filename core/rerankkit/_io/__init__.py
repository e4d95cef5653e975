"""The two ways to do I/O.  No module elsewhere may block or await the outside world.

The engine and the wrappers are coroutines that await nothing but an `IO`. The blocking one never suspends,
so `run` finishes such a coroutine without an event loop, in whatever thread it is called.
"""

from __future__ import annotations

from rerankkit._io.blocking import Blocking, run
from rerankkit._io.looping import Looping, check_loop
from rerankkit._io.protocol import IO, Job
from rerankkit._io.sharing import fair_turn

__all__ = ["ASYNC", "BLOCKING", "IO", "Job", "check_loop", "fair_turn", "run"]

BLOCKING: IO = Blocking()
ASYNC: IO = Looping()
