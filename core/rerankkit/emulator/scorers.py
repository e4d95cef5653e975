"""What ranks in the place of the services' models."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from rerankkit.emulator.settings import ScorerName
from rerankkit.local import bm25_scores

Scorer: TypeAlias = Callable[[str, Sequence[str]], Sequence[float]]
"""Scores of texts for a query, each at least 0; higher is more relevant."""

WORD = re.compile(r"\w+")


def overlap(query: str, texts: Sequence[str]) -> list[float]:
    """How many of the query's words each text holds: the fastest that still reads."""
    asked = words(query)
    return [float(len(asked & words(text))) for text in texts]


def given_order(query: str, texts: Sequence[str]) -> list[float]:  # noqa: ARG001 -- a scorer is given both
    """The order in which the texts came: for tests that look at anything but the ranking."""
    return [float(len(texts) - place) for place in range(len(texts))]


def words(text: str) -> set[str]:
    """The words of *text*, in lower case."""
    return set(WORD.findall(text.lower()))


SCORERS: Mapping[ScorerName, Scorer] = {"bm25": bm25_scores, "overlap": overlap, "order": given_order}
