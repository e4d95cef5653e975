"""The adapters against the oldest and the newest versions of their frameworks, on each Python.

    python -m tests.matrix                                   # from the checkout's root: all of it
    python -m tests.matrix --python 3.13 --langchain 1.0.0   # some of it
    python -m tests.matrix --folder ~/matrix                 # keep the environments, and use them again
    python -m tests.matrix --corner                          # the oldest frameworks on this Python, as CI does

Each combination gets an environment of its own (by uv where there is one, else by venv and pip) with the tests of the
adapters in it, and both type checkers on the files that use every public name. A Markdown table is printed at the end.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from tests.matrix.environments import Environment, Maker, Pins
from tests.matrix.outcomes import Row, table

NEWEST = "newest"
THIS = f"{sys.version_info.major}.{sys.version_info.minor}"
PYTHONS = ("3.11", "3.12", "3.13")
LANGCHAIN = ("1.0.0", NEWEST)
LLAMAINDEX = ("0.13.0", NEWEST)


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    description, _, more = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        "python -m tests.matrix", description=description, epilog=more, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--python", nargs="+", default=PYTHONS, metavar="X.Y", help=f"(default: {' '.join(PYTHONS)})")
    parser.add_argument(
        "--langchain",
        nargs="+",
        default=LANGCHAIN,
        metavar="VERSION",
        help=f"of langchain-core (default: {' '.join(LANGCHAIN)})",
    )
    parser.add_argument(
        "--llamaindex",
        nargs="+",
        default=LLAMAINDEX,
        metavar="VERSION",
        help=f"of llama-index-core (default: {' '.join(LLAMAINDEX)})",
    )
    parser.add_argument(
        "--all-pairs", action="store_true", help="each langchain-core with each llama-index-core, not side by side"
    )
    parser.add_argument("--corner", action="store_true", help="the oldest of both frameworks on this Python; no types")
    parser.add_argument("--folder", type=Path, help="where the environments go (default: one that is removed at the end)")
    parser.add_argument("--uv", help="path of uv (default: the one on the PATH; without one: venv and pip)")
    parser.add_argument("--workers", default="2", metavar="N", help="processes of pytest (default: %(default)s)")
    parser.add_argument("--no-types", action="store_true", help="leave out mypy and pyright")
    parser.add_argument("--plan", action="store_true", help="only tell which environments there would be")
    options = parser.parse_args(given)
    if options.corner:
        options.python, options.langchain, options.llamaindex = (THIS,), LANGCHAIN[:1], LLAMAINDEX[:1]
        options.no_types = True
    return options


def combinations(options: argparse.Namespace) -> list[Pins]:
    """Oldest with oldest and newest with newest, as far as both lists go; or each with each."""
    if options.all_pairs:
        pairs = list(product(options.langchain, options.llamaindex))
    else:
        longest = max(len(options.langchain), len(options.llamaindex))
        pairs = list(zip(_filled(options.langchain, longest), _filled(options.llamaindex, longest), strict=True))
    return [Pins(python, langchain, llamaindex) for python, (langchain, llamaindex) in product(options.python, pairs)]


def _filled(versions: Sequence[str], length: int) -> list[str]:
    return [*versions, *[versions[-1]] * (length - len(versions))]


def tried(environment: Environment, options: argparse.Namespace) -> Row:
    """The environment's row of the table; whatever cannot be made is told there."""
    started = time.monotonic()
    problem = environment.make()
    if problem:
        return Row(environment.pins, problem=problem)
    say(f"   {environment.installed()}: tests")
    row = Row(environment.pins, installed=environment.installed(), tests=environment.tests(options.workers))
    if not options.no_types:
        say("   type checkers")
        row.types = environment.types()
    row.seconds = time.monotonic() - started
    return row


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    options = arguments()
    chosen = combinations(options)
    if options.plan:
        print("\n".join(map(str, chosen)))
        return
    with tempfile.TemporaryDirectory(prefix="matrix-") as temporary:
        maker = Maker(options.folder or Path(temporary), options.uv)
        rows: list[Row] = []
        for number, pins in enumerate(chosen, start=1):
            say(f"{number}/{len(chosen)} {pins}: installing by {maker.name}")
            rows.append(tried(maker.environment(pins), options))
            say(f"   {rows[-1]}")
    print(table(rows))
    for row in rows:
        for line in row.complaints():
            print(line)
    sys.exit(0 if all(row.passed for row in rows) else 1)


if __name__ == "__main__":
    main()
