"""What the services of one emulator share: the switches, the time, who ranks, and what was granted."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import cast

from rerankkit._checks import is_number
from rerankkit.emulator.clock import Clock
from rerankkit.emulator.limits import Exceeded, Meter
from rerankkit.emulator.scorers import SCORERS, Scorer
from rerankkit.emulator.settings import ServiceName, Settings


def _is_score(value: object) -> bool:
    return is_number(value) and 0 <= value < math.inf


class ScorerError(Exception):
    """A scorer of the user's own has returned something else than scores."""


class World:
    """The state of one emulator, but for what a service keeps itself.

    Args:
        settings: How it is at the start, and after each `reset`.
        scorer: Ranks instead of the one that the settings name.
    """

    def __init__(self, settings: Settings, scorer: Scorer | None = None) -> None:
        self.settings = settings
        self.clock = Clock()
        self._initial = settings
        self._scorer = scorer
        self._meters: defaultdict[ServiceName, Meter] = defaultdict(Meter)

    def reset(self) -> None:
        """As at the start."""
        self.settings = self._initial
        self.clock.reset()
        self._meters.clear()

    def scores(self, query: str, texts: Sequence[str]) -> Sequence[float]:
        """A score, at least 0, for each text.

        Raises:
            ScorerError: The scorer has not given them.
        """
        if self._scorer is None:
            return SCORERS[self.settings.scorer](query, texts)
        try:
            found: object = self._scorer(query, texts)
        except Exception as error:
            raise ScorerError(f"the scorer has failed ({type(error).__name__}): {error}") from error
        if not isinstance(found, Sequence) or len(cast("Sequence[object]", found)) != len(texts):
            raise ScorerError(f"the scorer must return a list of {len(texts)} scores, one for each text, got {found!r}")
        wrong = next((score for score in cast("Sequence[object]", found) if not _is_score(score)), None)
        if wrong is not None:
            raise ScorerError(f"the scorer must return finite numbers, at least 0, got {wrong!r}")
        return found

    def warm(self) -> None:
        """Import what the scorer needs, which takes a third of a second: no request is to wait for that."""
        if self._scorer is None:
            self.scores("ferry", ["a ferry"])

    def take(self, service: ServiceName, tokens: int) -> Exceeded | None:
        """Count a request against its service's rate limits; which of them it would exceed, if any."""
        limit = self.settings.rate_limits.get(service)
        return self._meters[service].take(limit, tokens, self.clock.now()) if limit else None

    def left(self, service: ServiceName) -> int | None:
        """Requests that a service still takes this minute; None: without a limit."""
        limit = self.settings.rate_limits.get(service)
        return self._meters[service].left(limit, self.clock.now()) if limit else None
