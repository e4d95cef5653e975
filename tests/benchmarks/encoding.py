"""Does a fast JSON encoder pay?  One request of 1,000 documents of 1 kB, encoded in several ways, side by side.

Run: python tests/benchmarks/encoding.py
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable

import httpx
import orjson
import pydantic_core

ROUNDS = 60

PAYLOAD = {"model": "rerank-v3.5", "query": "q" * 60, "documents": [f"{number} " + "word " * 200 for number in range(1_000)]}

WAYS: dict[str, Callable[[], object]] = {
    "orjson": lambda: orjson.dumps(PAYLOAD),
    "pydantic_core.to_json": lambda: pydantic_core.to_json(PAYLOAD),
    "json.dumps, ASCII": lambda: json.dumps(PAYLOAD).encode(),
    "json.dumps, UTF-8": lambda: json.dumps(PAYLOAD, ensure_ascii=False, separators=(",", ":")).encode(),
    "httpx json=": lambda: httpx.Request("POST", "http://127.0.0.1/", json=PAYLOAD),
}


def measure() -> dict[str, list[float]]:
    """Microseconds of each round, the ways taking turns."""
    times: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(ROUNDS):
        for name, encode in WAYS.items():
            started = time.perf_counter()
            encode()
            times[name].append(1e6 * (time.perf_counter() - started))
    return times


def main() -> None:
    medians = {name: statistics.median(found) for name, found in measure().items()}
    floor = min(medians.values())
    print(f"{len(orjson.dumps(PAYLOAD)):,} bytes, median of {ROUNDS} interleaved rounds")
    for name, median in sorted(medians.items(), key=lambda pair: pair[1]):
        print(f"{name:<24}{median:>9,.0f} us {median / floor:>7.1f} x")


if __name__ == "__main__":
    main()
