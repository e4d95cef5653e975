"""The figures on a page, between two marks, and the charts beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.chart import Bar, bars
from benchmarks.tables import TABLES, stated

BEGIN, END = "<!-- figures: python -m tests.benchmarks --write -->", "<!-- end of figures -->"
CHARTS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "sync": ("One call, 100 documents of 1 kB: milliseconds", ("100", "median")),
    "burst": ("200 calls at once to a service that takes 50 ms: milliseconds", ("took",)),
}


def charts(results: Mapping[str, Any]) -> dict[str, str]:
    """SVG by the scenario's name."""
    return {name: _chart(results, name) for name in CHARTS if results["scenarios"].get(name, {}).get("contestants")}


def _chart(results: Mapping[str, Any], scenario: str) -> str:
    title, path = CHARTS[scenario]
    found: list[Bar] = []
    for name, one in results["scenarios"][scenario]["contestants"].items():
        value = one["figures"]
        for step in path:
            value = value[step]
        kind = results["kinds"][name]
        if kind != "part":
            found.append(Bar(name, 1e3 * value, kind))
    return bars(title, found, "ms")


def section(results: Mapping[str, Any], page: Path) -> str:
    """What stands between the marks."""
    parts = [f"Measured on {stated(results['machine'], results['scale'])}."]
    for name, scenario in results["scenarios"].items():
        if scenario["contestants"]:
            parts.append(f"### {name.replace('_', ' ')}\n\n{scenario['title'].capitalize()}.")
            parts += [f"![{CHARTS[name][0]}]({chart_path(page, name).name})"] if name in CHARTS else []
            parts.append(TABLES[name](scenario["contestants"]))
    return "\n\n".join(parts)


def chart_path(page: Path, scenario: str) -> Path:
    return page.with_name(f"{page.stem}-{scenario}.svg")


def write(results: Mapping[str, Any], page: Path) -> None:
    """Put the figures where the page has its marks.

    Raises:
        ValueError: It has none.
    """
    text = page.read_text("utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} lacks the marks {BEGIN!r} and {END!r}")
    page.write_text(f"{before}{BEGIN}\n\n{section(results, page)}\n\n{END}{after}", "utf-8")
    for name, chart in charts(results).items():
        chart_path(page, name).write_text(chart, "utf-8")
