"""Documents cut to their relevant spans."""

from __future__ import annotations

from collections.abc import Sequence

from rerankkit import Span

GAP = "\n"


def cut(text: str, spans: Sequence[Span]) -> str:
    """What of *text* lies in *spans*, in its own order; spans that touch are one.  Without spans it is left whole."""
    return GAP.join(text[start:end] for start, end in _merged(spans)) if spans else text


def _merged(spans: Sequence[Span]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted((span.start, span.end) for span in spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def offsets(spans: Sequence[Span]) -> list[dict[str, float]]:
    """*spans* as metadata: best first, in code points of the text as it was."""
    return [{"start": span.start, "end": span.end, "score": span.score} for span in spans]
