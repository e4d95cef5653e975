"""How late calls return that only their deadline ends: every way to be slow, sync and async, deadlines of 0.1 to 10 s.

``python -m tests.deadlines``, from the root of the checkout; the promise is 250 ms at most after any
deadline, and 50 ms for 99 of 100 calls.  The last column leaves out the time for which the machine was busy with others.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from helpers.ways import COLOURS
from integration.reliability.fault_server import FaultServer
from integration.reliability.slowness import SLOWNESSES, Ended, Slowness, side_by_side, summary

DEADLINES = (0.1, 0.3, 1.0, 3.0, 10.0)
MOST = {"max": 250.0, "p99": 50.0}  # milliseconds


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.deadlines", description=__doc__)
    parser.add_argument(
        "--deadlines", type=float, nargs="+", default=DEADLINES, metavar="S", help="seconds (default: %(default)s)"
    )
    parser.add_argument(
        "--calls", type=int, default=5, help="to each of the four services for each deadline, side by side (default: 5)"
    )
    parser.add_argument("--only", default="", metavar="TEXT", help="ways to be slow whose name holds this")
    return parser.parse_args(given)


def measured(options: argparse.Namespace) -> Iterator[tuple[str, Sequence[Ended]]]:
    """Each way to be slow in each colour, and how its calls ended."""
    server = FaultServer()
    try:
        chosen = [one for one in SLOWNESSES if options.only in str(one)]
        for number, (slowness, colour) in enumerate(((one, colour) for one in chosen for colour in COLOURS), start=1):
            print(f"{number}/{2 * len(chosen)} {slowness}, {colour}", file=sys.stderr, flush=True)
            yield f"{slowness}, {colour}", _ended(server, slowness, colour, options)
    finally:
        server.stop()


def _ended(server: FaultServer, slowness: Slowness, colour: str, options: argparse.Namespace) -> Sequence[Ended]:
    """One deadline after the other: calls of short ones are not to be held up by the beginning of others.

    Errors are let go: with all that their frames hold, the garbage collector's walks would soon take half a second.
    """
    return [
        replace(ended, error=None)
        for deadline in options.deadlines
        for ended in side_by_side(server, slowness, colour, [deadline], options.calls)
    ]


def row(name: str, ended: Sequence[Ended]) -> str:
    late = summary(ended)
    kept = "" if all(late[key] <= most for key, most in MOST.items()) else "  LATE"
    return f"{name:<42} {len(ended):>6} {late['max']:>9.1f} {late['p99']:>9.1f} {late['p50']:>9.1f} {late['own']:>9.1f}{kept}"


def main(given: Sequence[str] | None = None) -> int:
    options = arguments(given)
    found = list(measured(options))
    everything = [one for _, ended in found for one in ended]
    print(f"{'milliseconds after the deadline':<42} {'calls':>6} {'max':>9} {'p99':>9} {'p50':>9} {'own max':>9}")
    for name, ended in [*found, ("all", everything)]:
        print(row(name, ended))
    return int("LATE" in row("all", everything))


if __name__ == "__main__":
    sys.exit(main())
