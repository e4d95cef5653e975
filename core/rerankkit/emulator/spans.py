"""Relevant passages of a text: its sentences that share words with the query, a stand-in for what Cohere's v5 models find."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rerankkit.emulator.scorers import words

SENTENCE = re.compile(r"[^.!?]+[.!?]*")


def relevant_spans(query: str, text: str, threshold: float, most: int | None) -> list[dict[str, float]]:
    """Start, end and score of at most *most* passages above *threshold*, best first; scores are shares of the query's words."""
    asked = words(query)
    found = [(len(asked & words(text[start:end])) / max(1, len(asked)), start, end) for start, end in sentences(text)]
    best = sorted((span for span in found if span[0] > threshold), key=lambda span: -span[0])[:most]
    return [{"start": start, "end": end, "score": round(score, 6)} for score, start, end in best]


def sentences(text: str) -> Iterator[tuple[int, int]]:
    """The ``[start, end)`` of each, without the spaces before it; blank ones are left out."""
    for sentence in SENTENCE.finditer(text):
        found = sentence.group()
        start = sentence.start() + len(found) - len(found.lstrip())
        if start < sentence.end():
            yield start, sentence.end()
