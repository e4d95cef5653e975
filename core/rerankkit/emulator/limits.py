"""Rate limits: what was taken within a minute and a month."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from rerankkit.emulator.settings import RateLimit

MINUTE = 60.0
MONTH = 30 * 24 * 3600.0

Exceeded: TypeAlias = Literal["requests_per_minute", "tokens_per_minute", "requests_per_month"]


@dataclass(slots=True)
class Meter:
    """What one service has granted, as (moment, tokens) pairs, oldest first."""

    granted: deque[tuple[float, int]] = field(default_factory=deque[tuple[float, int]])

    def take(self, limit: RateLimit, tokens: int, now: float) -> Exceeded | None:
        """Grant a request, or say which limit it would exceed."""
        while self.granted and self.granted[0][0] <= now - MONTH:
            self.granted.popleft()
        over = self._exceeded(limit, tokens, now)
        if over is None:
            self.granted.append((now, tokens))
        return over

    def _exceeded(self, limit: RateLimit, tokens: int, now: float) -> Exceeded | None:
        if limit.requests_per_month is not None and len(self.granted) >= limit.requests_per_month:
            return "requests_per_month"
        lately = [taken for moment, taken in self.granted if moment > now - MINUTE]
        if limit.requests_per_minute is not None and len(lately) >= limit.requests_per_minute:
            return "requests_per_minute"
        if limit.tokens_per_minute is not None and sum(lately) + tokens > limit.tokens_per_minute:
            return "tokens_per_minute"
        return None

    def left(self, limit: RateLimit, now: float) -> int | None:
        """Requests that are still granted this minute; None: without a limit."""
        if limit.requests_per_minute is None:
            return None
        return max(0, limit.requests_per_minute - sum(moment > now - MINUTE for moment, _ in self.granted))
