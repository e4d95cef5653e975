"""What was promised, what came of it, and the table of both."""

from __future__ import annotations

from dataclasses import dataclass

from rich.table import Table

from soak.measure import growth
from soak.run import Soak

MOST_FAULTS = 0.1  # up to which nearly all calls must succeed
LEAST_SUCCESS = 0.999
MOST_GROWTH = 64 * 1024  # bytes of heap for each 10,000 calls
MOST_DESCRIPTORS = 2  # more or fewer than at first
LATEST = 0.25  # seconds after the deadline


@dataclass(frozen=True)
class Promise:
    """A promise, what was measured, and whether it was kept."""

    text: str
    measured: str
    kept: bool


def promises(soak: Soak, faults: float) -> list[Promise]:
    """All that hold for a run with this share of faults."""
    tally, heap = soak.tally, growth(soak.rests)
    success = tally.right / tally.calls
    descriptors = soak.after.descriptors - soak.before.descriptors
    threads = soak.after.threads - soak.before.threads
    wrong_or_lost = tally.wrong + tally.lost.total()
    found = [
        Promise("no wrong or lost answer", f"{tally.wrong} wrong, {tally.lost.total()} lost", wrong_or_lost == 0),
        Promise(
            f"heap grows by less than {MOST_GROWTH // 1024} KiB per 10,000 calls", f"{heap / 1024:+.1f} KiB", heap < MOST_GROWTH
        ),
        Promise(
            f"descriptors as before, give or take {MOST_DESCRIPTORS}",
            f"{soak.before.descriptors}, then {soak.after.descriptors}",
            abs(descriptors) <= MOST_DESCRIPTORS,
        ),
        Promise("no thread more than before", f"{soak.before.threads}, then {soak.after.threads}", threads <= 0),
        Promise(
            f"calls end by their deadline and {LATEST} s", f"{max(0.0, tally.lateness):.3f} s late", tally.lateness <= LATEST
        ),
    ]
    if faults <= MOST_FAULTS:
        found.insert(1, Promise(f"at least {LEAST_SUCCESS:.1%} succeed", f"{success:.3%}", success >= LEAST_SUCCESS))
    return found


def table(soak: Soak, kept: list[Promise]) -> Table:
    """Promises first, then figures, then the faults that were met."""
    tally = soak.tally
    figures = Table(title="Soak", show_header=False, title_justify="left")
    for promise in kept:
        figures.add_row(promise.text, promise.measured, "kept" if promise.kept else "BROKEN")
    figures.add_section()
    quantiles = ", ".join(f"p{share:.0%}".rstrip("%") + f" {tally.durations.quantile(share):.3f}" for share in (0.5, 0.99))
    figures.add_row("calls", f"{tally.calls:,} in {soak.seconds:,.0f} s, {tally.calls / soak.seconds:,.0f}/s")
    figures.add_row("failed", _counted(tally.failed))
    figures.add_row("lost", _counted(tally.lost))
    figures.add_row("retries", f"{tally.retries:,}")
    figures.add_row("requests read whole, per call", f"{soak.requests / tally.calls:.4f}")
    figures.add_row("seconds of a call", f"{quantiles}, most {tally.durations.most:.3f}")
    figures.add_row("heap at its rests, KiB", _heaps(soak))
    figures.add_section()
    for name, count in sorted(soak.met.items()):
        figures.add_row(f"met: {name}", f"{count:,}")
    return figures


def _counted(counter: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counter.items()) or "none"


def _heaps(soak: Soak) -> str:
    """A few of them, from first to last."""
    step = max(1, len(soak.rests) // 5)
    return ", ".join(f"{rest.heap / 1024:,.0f}" for rest in soak.rests[::-step][::-1])
