"""What a fork must not cut in two.

A child has none of its parent's other threads, and waits for ever for a lock that one of them held, such as that of a
module it was importing.  A fork waits until nothing of the kind is under way: first calls do it, later ones do not.
"""

from __future__ import annotations

import os
import threading

UNDIVIDED = threading.RLock()
"""Held while something is under way that a fork has to wait for."""

if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(before=UNDIVIDED.acquire, after_in_parent=UNDIVIDED.release, after_in_child=UNDIVIDED.release)
