"""What is kept: an answer without its documents, as JSON.  A score of one pair is an answer about one document."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, cast

import orjson

from rerankkit._engine import SKIPPED_ORDER
from rerankkit.types import RankedDocument, RerankResponse, Skipped, Span, label

Results = Sequence[RankedDocument[Any]]


@dataclass(frozen=True, slots=True)
class Row:
    """A document's place in an answer, by its position in what was asked."""

    index: int
    score: float | None
    skipped: Skipped | None = None
    spans: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """An answer.

    Attributes:
        rows: Best first.
        warnings: What only the answer itself said.
    """

    provider: str
    model: str | None
    rows: tuple[Row, ...]
    warnings: tuple[str, ...] = ()

    @property
    def served_by(self) -> str:
        """Who ranked."""
        return label(self.provider, self.model)

    @property
    def is_lasting(self) -> bool:
        """Whether it says something that is worth keeping, and that JSON can say."""
        return any(row.score is not None for row in self.rows) and all(math.isfinite(row.score or 0.0) for row in self.rows)


def entry_of(response: RerankResponse[Any], results: Results, warnings: tuple[str, ...] = ()) -> Entry:
    """What to keep of *results* of *response*, by their own indices."""
    rows = (Row(result.index, result.relevance_score, result.skipped, result.spans) for result in results)
    return Entry(response.provider, response.model, tuple(rows), warnings)


def encoded(entry: Entry) -> bytes:
    """*entry* as JSON."""
    rows = [
        [row.index, row.score, row.skipped, *([span.start, span.end, span.score] for span in row.spans)] for row in entry.rows
    ]
    return orjson.dumps([entry.provider, entry.model, rows, *entry.warnings])


def decoded(value: bytes, indices: Collection[int]) -> Entry | None:
    """The entry about documents at *indices*; None for bytes that are none."""
    try:
        provider, model, rows, *warnings = orjson.loads(value)
        entry = Entry(
            _text(provider), None if model is None else _text(model), tuple(map(_row, rows)), tuple(map(_text, warnings))
        )
    except (ValueError, TypeError):
        return None
    found = [row.index for row in entry.rows]
    return entry if len(set(found)) == len(found) and set(found) <= set(indices) else None


def _row(value: Any) -> Row:  # noqa: ANN401 -- JSON
    index, score, skipped, *spans = value
    if (score is None) == (skipped is None) or skipped not in (None, *SKIPPED_ORDER):
        raise ValueError
    return Row(_integer(index), None if score is None else _number(score), skipped, tuple(map(_span, spans)))


def _span(value: Any) -> Span:  # noqa: ANN401 -- JSON
    start, end, score = value
    return Span(_integer(start), _integer(end), _number(score))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _integer(value: object) -> int:
    if type(value) is not int:
        raise TypeError
    return value


def _number(value: object) -> float:
    if type(value) not in (int, float):
        raise TypeError
    return float(cast("float", value))
