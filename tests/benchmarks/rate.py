"""Is a rate that processes share through Redis kept, and reached?  12 workers in 3 processes, 100 requests a second.

Run: ``python tests/benchmarks/rate.py [--seconds N]``, with redis-server installed.  The emulator counts, not the workers:
its figures are read once a second, after the first 200 requests.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from helpers.rate_workers import Job, processes, start
from helpers.redis_server import redis_server
from rerankkit.emulator import Emulator

PROCESSES = 3
WORKERS = 4  # of each
RATE = 100.0
WARM_UP = 200  # requests: connections are opened, modules imported
PATIENCE = 30.0  # seconds for that


def answered(emulator: Emulator) -> int:
    """Requests since its start."""
    return emulator.stats().get("cohere", {}).get("requests", 0)


def warm_up(emulator: Emulator) -> None:
    """Return once all are at work."""
    ends = time.monotonic() + PATIENCE
    while answered(emulator) < WARM_UP:
        if time.monotonic() > ends:
            raise TimeoutError(f"the workers made {answered(emulator)} requests in {PATIENCE:g} s")
        time.sleep(0.05)


def counted(emulator: Emulator, seconds: int) -> list[tuple[float, int]]:
    """Moments, a second apart, and the requests that the emulator had answered then."""
    began = time.monotonic()
    found: list[tuple[float, int]] = []
    for second in range(seconds + 1):
        time.sleep(max(0.0, began + second - time.monotonic()))
        asked = time.monotonic()
        count = answered(emulator)
        found.append(((asked + time.monotonic()) / 2, count))
    return found


def measure(emulator: Emulator, redis_url: str, colour: str, seconds: int) -> list[tuple[float, int]]:
    emulator.reset()
    job = Job(emulator.urls["cohere"], redis_url, f"bench-{colour}", RATE, colour, WORKERS, seconds + PATIENCE)
    with processes(job, PROCESSES) as workers:
        start(workers)
        warm_up(emulator)
        found = counted(emulator, seconds)
        for process in workers:
            process.terminate()
    return found


def row(colour: str, found: list[tuple[float, int]]) -> str:
    (began, before), (ended, after) = found[0], found[-1]
    steps = [later[1] - earlier[1] for earlier, later in pairwise(found)]
    allowed = RATE * (ended - began)
    return (
        f"| {colour} | {ended - began:.2f} | {allowed:,.0f} | {after - before:,} | {100 * (after - before) / allowed:.2f} % "
        f"| {min(steps)} to {max(steps)} | {' '.join(map(str, steps))} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=30)
    options = parser.parse_args()
    print(f"{PROCESSES} processes of {WORKERS} workers, {RATE:g} requests/s in all")
    print("| workers | seconds | allowed | counted by the emulator | of the limit | in a second | second by second |")
    print("|---|---:|---:|---:|---:|---|---|")
    with tempfile.TemporaryDirectory() as directory, redis_server(Path(directory)) as redis_url, Emulator() as emulator:
        for colour in ("sync", "async"):
            print(row(colour, measure(emulator, redis_url, colour, options.seconds)), flush=True)


if __name__ == "__main__":
    main()
