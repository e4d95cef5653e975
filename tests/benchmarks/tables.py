"""Results as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.acceptance import Line

Contestants = Mapping[str, Any]
Row = Sequence[str]


def table(head: Row, rows: Sequence[Row]) -> str:
    under = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, under, *rows))


def milliseconds(seconds: float | None, digits: int = 1) -> str:
    return "" if seconds is None else f"{1e3 * seconds:,.{digits}f}"


def times(value: float | None, floor: float | None) -> str:
    return "" if not value or not floor else f"{value / floor:.2f}"


def figures(contestants: Contestants) -> dict[str, Any]:
    return {name: one["figures"] for name, one in contestants.items()}


def failures(found: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(found.items()))


def sync(contestants: Contestants) -> str:
    found = figures(contestants)
    counts = list(next(iter(found.values())))
    return "\n\n".join(_sync(found, count) for count in counts)


def _sync(found: Mapping[str, Any], count: str) -> str:
    head = (f"{int(count):,} documents", "median, ms", "p95, ms", "of the processor, ms", "x raw socket", "x httpx")
    floors = [found.get(name, {}).get(count, {}).get("median") for name in ("raw socket", "httpx")]
    rows = []
    for name, by_count in sorted(found.items(), key=lambda pair: pair[1][count]["median"]):
        one = by_count[count]
        cells = [milliseconds(one[key], 2) for key in ("median", "p95", "computed")]
        rows.append((name, *cells, *(times(one["median"], floor) for floor in floors)))
    return table(head, rows)


def burst(contestants: Contestants) -> str:
    head = (
        "all at once", "ms", "x raw socket", "ms, no connection open yet", "of the processor, ms", "loop lag p99, ms",
        "most in flight", "new connections", "failures",
    )  # fmt: skip
    found = figures(contestants)
    floor = found.get("raw socket", {}).get("took")
    rows = []
    for name, one in sorted(found.items(), key=lambda pair: pair[1]["took"]):
        cells = [milliseconds(value, 0) for value in (one["opening"]["took"], one["computed"])]
        counts = [f"{one['service'][key]:.0f}" for key in ("most_in_flight", "connections")]
        took = (milliseconds(one["took"], 0), times(one["took"], floor))
        rows.append((name, *took, *cells, milliseconds(one["lag_p99"]), *counts, failures(one["failures"])))
    return table(head, rows)


def over_limit(contestants: Contestants) -> str:
    head = ("3,000 documents", "colour", "ms", "x one request", "requests", "failures")
    found = figures(contestants)
    floor = found.get("httpx", {}).get("sync", {}).get("took")
    rows = [
        (
            name, colour, milliseconds(one["took"], 0), "" if one["failures"] else times(one["took"], floor),
            f"{one['service']['requests']:.0f}", failures(one["failures"]),
        )
        for name, colours in found.items()
        for colour, one in colours.items()
    ]  # fmt: skip
    return table(head, rows)


def cold(contestants: Contestants) -> str:
    head = (
        "a new process", "import, ms", "framework before that, ms", "make the client, ms", "first call, ms", "second call, ms",
        "in all, ms", "resident, MB",
    )  # fmt: skip
    rows = []
    for name, one in sorted(figures(contestants).items(), key=lambda pair: pair[1]["ready"] + pair[1]["framework"]):
        before = milliseconds(one["framework"], 0) if one["framework"] > 1e-3 else ""
        cells = [milliseconds(one[key]) for key in ("construct", "first", "second")]
        rows.append(
            (name, milliseconds(one["import"]), before, *cells, milliseconds(one["ready"], 0), f"{one['memory'] / 1e6:.0f}")
        )
    return table(head, rows)


def stream(contestants: Contestants) -> str:
    head = (
        "calls at a time", "colour", "ok", "s", "x ideal", "requests a call", "p50, ms", "p95, ms", "p99, ms", "slowest, ms",
        "failures",
    )  # fmt: skip
    rows = []
    for name, contestant in contestants.items():
        for colour, one in contestant["figures"].items():
            runs = [sample[colour] for sample in contestant["rounds"]]
            ok = f"{sum(run['ok'] for run in runs):,} of {sum(run['calls'] for run in runs):,}"
            cells = [milliseconds(one[key], 0) for key in ("p50", "p95", "p99", "max")]
            requests = f"{one['service']['requests'] / one['calls']:.2f}"
            rows.append(
                (
                    name,
                    colour,
                    ok,
                    f"{one['took']:.2f}",
                    times(one["took"], one.get("ideal")),
                    requests,
                    *cells,
                    failures(one["failures"]),
                )
            )
    return table(head, rows)


def memory(contestants: Contestants) -> str:
    head = ("one call of 10 MB", "peak, MB", "x body", "left, MB", "left by five more, kB")
    found = sorted(figures(contestants).items(), key=lambda pair: pair[1]["peak"])
    rows = [
        (
            name, f"{one['peak'] / 1e6:.1f}", times(one["peak"], one["body"]), f"{one['left'] / 1e6:.1f}",
            f"{one['retained'] / 1e3:.1f}",
        )
        for name, one in found
    ]  # fmt: skip
    return table(head, rows)


def growth(contestants: Contestants) -> str:
    found = figures(contestants)
    counts = list(next(iter(found.values())))
    head = ("ms", *(f"{int(count):,}" for count in counts), "us a further kB")
    last, before = counts[-1], counts[0]
    rows = []
    for name, one in found.items():
        slope = (one[last] - one[before]) / max(1, int(last) - int(before))
        rows.append((name, *(milliseconds(one[count], 2) for count in counts), f"{1e6 * slope:.2f}"))
    return table(head, rows)


TABLES: Mapping[str, Callable[[Contestants], str]] = {
    "sync": sync,
    "async": sync,
    "burst": burst,
    "over_limit": over_limit,
    "cold": cold,
    "faults": stream,
    "tail": stream,
    "duplicates": stream,
    "memory": memory,
    "growth": growth,
}


def acceptance(lines: Sequence[Line]) -> str:
    rows = []
    for line in lines:
        measured = (
            ""
            if line.measured is None
            else f"{line.measured:,.2f}"
            if line.unit in ("x", "ms", "kB")
            else f"{line.measured:,.0f}"
        )
        promise = f"{line.promise} ({line.note})" if line.note else line.promise
        rows.append((f"{line.number}. {promise}", measured, f"{line.limit:,g}", line.unit, line.verdict))
    return table(("promise", "measured", "at most", "unit", ""), rows)


def stated(machine: Mapping[str, Any], scale: str) -> str:
    """The circumstances, without which no figure means anything."""
    return (
        f"{machine['cores']} cores, load {machine['load_before']:g} before and {machine['load_after']:g} after, "
        f"Python {machine['python']}, {machine['time']} UTC, {scale} run"
    )


def report(results: Mapping[str, Any], lines: Sequence[Line]) -> str:
    """All tables, then the promises."""
    parts = [f"{stated(results['machine'], results['scale'])}, {results['seconds']:.0f} s"]
    for name, scenario in results["scenarios"].items():
        parts.append(f"### {name}: {scenario['title']}")
        parts.append(TABLES[name](scenario["contestants"]) if scenario["contestants"] else "Nobody took part.")
    if results["failed"]:
        parts.append("\n".join(f"not run: {name}: {why.splitlines()[-1]}" for name, why in results["failed"].items()))
    return "\n\n".join([*parts, "### what is promised", acceptance(lines)])
