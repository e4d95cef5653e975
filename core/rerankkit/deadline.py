"""One point in time that a whole call must not pass: connecting, waiting, retrying and all."""

from __future__ import annotations

import time


class Deadline:
    """*seconds* from now, on the monotonic clock."""

    __slots__ = ("at", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.at = time.monotonic() + seconds

    def __repr__(self) -> str:
        return f"<Deadline: {self.remaining():.3f} s of {self.seconds:g} s left>"

    def remaining(self) -> float:
        """Seconds left; 0.0 once the deadline has passed."""
        return max(0.0, self.at - time.monotonic())

    def allows(self, seconds: float) -> bool:
        """Whether a wait of *seconds* would end before the deadline."""
        return seconds < self.remaining()

    def sooner(self, seconds: float) -> Deadline:
        """This one, or another *seconds* from now if that is sooner."""
        return Deadline(seconds) if seconds < self.remaining() else self
