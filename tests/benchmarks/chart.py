"""Bars as SVG, for pages: readable on light and on dark ground."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

WIDTH, ROW, BAR, TOP = 760, 22, 14, 34  # pixels
NAMES, VALUES = 230, 110  # pixels: left and right of the bars
COLOURS = {"floor": "#8a8f98", "ours": "#1f77b4", "peer": "#d9883b", "part": "#8a8f98"}


class Bar(NamedTuple):
    """One contestant's figure."""

    name: str
    value: float
    kind: str


def bars(title: str, found: Sequence[Bar], unit: str) -> str:
    """The smallest first."""
    ordered = sorted(found, key=lambda bar: bar.value)
    most = max(bar.value for bar in ordered)
    height = TOP + ROW * len(ordered) + 8
    rows = "\n".join(_row(place, bar, most, unit) for place, bar in enumerate(ordered))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        f'role="img" font-family="sans-serif" font-size="12" fill="#808080">\n'
        f"<title>{escape(title)}</title>\n"
        f'<text x="8" y="20" font-size="14" font-weight="bold">{escape(title)}</text>\n{rows}\n</svg>\n'
    )


def _rounded(value: float) -> str:
    """Three digits, or all that stand before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _row(place: int, bar: Bar, most: float, unit: str) -> str:
    top = TOP + ROW * place
    width = max(1.0, (WIDTH - NAMES - VALUES) * bar.value / most)
    middle = top + BAR - 3
    return (
        f'<text x="{NAMES - 8}" y="{middle}" text-anchor="end">{escape(bar.name)}</text>'
        f'<rect x="{NAMES}" y="{top}" width="{width:.1f}" height="{BAR}" rx="2" fill="{COLOURS[bar.kind]}"/>'
        f'<text x="{NAMES + width + 6:.1f}" y="{middle}">{_rounded(bar.value)} {escape(unit)}</text>'
    )
