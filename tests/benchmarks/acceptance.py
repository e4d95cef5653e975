"""What is promised of the figures, held against a run: each line with what was measured, the limit, and whether it is kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

FASTEST = ("core", "langchain", "llamaindex")  # the ways to use the package, each over several HTTP libraries
COLLAPSE = 20.0  # times the floor; httpx's pool, when it collapses, is at 83
ADAPTERS = {
    "langchain": ("langchain-core's retrievers", "RerankCompressor"),
    "llamaindex": ("llama-index-core", "RerankPostprocessor"),
}
"""After what of its framework each is imported, and the class that is then named."""

THREADS = 16  # calls in flight at most where threads make them: they take long, and leave the loop alone


@dataclass(frozen=True)
class Line:
    """One promise.

    Attributes:
        measured: None: not in this run.
        limit: The most that is promised.
    """

    number: int
    promise: str
    measured: float | None
    limit: float
    unit: str = "x"
    note: str = ""

    @property
    def verdict(self) -> str:
        if self.measured is None:
            return "not measured"
        return "pass" if self.measured <= self.limit else "MISS"


class Results:
    """A run's figures, found by name; what was not measured is None."""

    def __init__(self, results: Mapping[str, Any], default_transport: str) -> None:
        self.results = results
        self.default = default_transport

    def contestants(self, scenario: str) -> Mapping[str, Any]:
        return self.results["scenarios"].get(scenario, {}).get("contestants", {})

    def figure(self, scenario: str, name: str, *path: str) -> float | None:
        found: Any = self.contestants(scenario).get(name, {}).get("figures")
        for step in path:
            found = found.get(step) if isinstance(found, Mapping) else None
        return found

    def ratio(self, scenario: str, over: Sequence[str], under: Sequence[str]) -> float | None:
        """Of two figures, each given by its contestant and its path."""
        above, below = self.figure(scenario, *over), self.figure(scenario, *under)
        return None if above is None or not below else above / below

    def computed(self, count: str, over: str, under: str) -> str:
        """What the same ratio is of the processor's time, which other work on the machine disturbs less."""
        ratio = self.ratio("sync", (over, count, "computed"), (under, count, "computed"))
        return "" if ratio is None else f"of the processor's time {ratio:.2f}"

    def usual(self, way: str) -> str:
        """The contestant that has the HTTP library which is chosen where nobody chooses."""
        return f"{way}[{self.default}]"

    def fastest(self, scenario: str, way: str, *path: str) -> str:
        """Of the contestants of *way*, over whichever HTTP library."""
        found = {name: self.figure(scenario, name, *path) for name in self.contestants(scenario) if name.startswith(f"{way}[")}
        measured = {name: value for name, value in found.items() if value is not None}
        return min(measured, key=lambda name: measured[name], default="")

    def in_flight(self, name: str) -> float:
        return self.figure("burst", name, "service", "most_in_flight") or 0

    def of_kind(self, scenario: str, kind: str) -> list[str]:
        return [name for name in self.contestants(scenario) if self.results["kinds"].get(name) == kind]


def lines(results: Mapping[str, Any], default_transport: str) -> list[Line]:
    """All of them, in order."""
    found = Results(results, default_transport)
    return [line for part in (_sync, _long, _burst, _over_limit, _cold, _faults, _memory) for line in part(found)]


def _sync(found: Results) -> Iterator[Line]:
    for way, limit in (("core", 0.9), ("langchain", 1.0), ("llamaindex", 1.3)):
        name = found.usual(way)
        ratio = found.ratio("sync", (name, "100", "median"), ("httpx", "100", "median"))
        note = found.computed("100", name, "httpx")
        yield Line(1, f"100 documents: {name} / httpx's Client.post with a ready body", ratio, limit, note=note)


def _long(found: Results) -> Iterator[Line]:
    own = found.figure("sync", "LlamaIndex's own get_content", "1000", "median")
    peer = found.figure("sync", "pinecone SDK", "1000", "median")
    part = f", to which LlamaIndex's own get_content would add {own / peer:.2f}" if own and peer else ""
    for way, limit in (("core", 0.85), ("langchain", 1.0), ("llamaindex", 3.5)):
        name = found.usual(way)
        ratio = found.ratio("sync", (name, "1000", "median"), ("pinecone SDK", "1000", "median"))
        note = found.computed("1000", name, "pinecone SDK") + (part if way == "llamaindex" else "")
        yield Line(2, f"1,000 documents: {name} / pinecone SDK", ratio, limit, note=note.removeprefix(", "))


def _burst(found: Results) -> Iterator[Line]:
    floor = ("raw socket", "took")
    fastest = [found.fastest("burst", way, "took") for way in FASTEST]
    for name, way in zip(fastest, FASTEST, strict=True):
        yield Line(3, f"burst: {name or way} / raw socket", found.ratio("burst", (name, "took"), floor), 1.5)
    calls = found.figure("burst", "raw socket", "service", "requests")
    missing = None if calls is None or not all(fastest) else calls - min(found.in_flight(name) for name in fastest)
    yield Line(3, "burst: calls not in flight at the same time", missing, 0, "calls")
    ratio = found.ratio("burst", ("core[httpx2]", "took"), ("httpx2", "took"))
    yield Line(3, "burst: core[httpx2] / httpx2's AsyncClient.post", ratio, 1.0)
    yield Line(3, "burst: core[httpx] / raw socket", found.ratio("burst", ("core[httpx]", "took"), floor), COLLAPSE)
    native = [name for name in found.of_kind("burst", "peer") if found.in_flight(name) > THREADS]
    yield _lag(found, fastest, native, "that have more than a few calls in flight")
    yield _lag(found, fastest, found.of_kind("burst", "peer"), "of any kind")


def _lag(found: Results, fastest: Sequence[str], peers: Sequence[str], which: str) -> Line:
    ours = [lag for name in fastest if (lag := found.figure("burst", name, "lag_p99")) is not None]
    theirs = {name: lag for name in peers if (lag := found.figure("burst", name, "lag_p99")) is not None}
    promise = f"burst: worst loop lag p99 of ours / best of peers {which}"
    if not ours or not theirs:
        return Line(3, promise, None, 1.0)
    best = min(theirs, key=lambda name: theirs[name])
    note = f"{1e3 * max(ours):.1f} ms; {best}: {1e3 * theirs[best]:.1f} ms"
    return Line(3, promise, max(ours) / theirs[best], 1.0, note=note)


def _over_limit(found: Results) -> Iterator[Line]:
    name = found.usual("core")
    ratio = found.ratio("over_limit", (name, "sync", "took"), ("httpx", "sync", "took"))
    yield Line(4, f"3,000 documents: {name} / one request", ratio, 0.4)
    requests = found.figure("over_limit", name, "sync", "service", "requests")
    yield Line(4, "3,000 documents: requests, 1,000 documents each", requests, 3, "requests")
    colours = [found.figure("over_limit", name, colour, "took") for colour in ("sync", "async")]
    apart = max(colours) / min(colours) if all(colours) else None  # type: ignore[type-var, operator]
    yield Line(4, "3,000 documents: sync and async apart", apart, 1.1)


def _cold(found: Results) -> Iterator[Line]:
    core = found.usual("core")
    for what, path in (("import rerankkit", ("imported", "import rerankkit")), ("with Client and Cohere", ("import",))):
        yield Line(5, f"{what} / import httpx", found.ratio("cold", (core, *path), ("httpx", "import")), 1.25)
    for way, (framework, named) in ADAPTERS.items():
        whole = found.figure("cold", found.usual(way), "import")
        note = "" if whole is None else f"{1e3 * whole:.0f} ms with Client, Cohere and the HTTP library"
        for what in (f"import {way}_rerankkit", f"from {way}_rerankkit import {named}"):
            added = found.figure("cold", found.usual(way), "imported", what)
            told = note if named in what else ""
            yield Line(5, f"{what}, after {framework}", None if added is None else 1e3 * added, 30, "ms", told)
    named = "from langchain_rerankkit import RerankCompressor"
    added = found.figure("cold", "langchain, no retriever before", "imported", named)
    yield Line(5, f"{named}, after BaseDocumentCompressor alone", None if added is None else 1e3 * added, 30, "ms")
    for what, figure, limit in (("make a client", "construct", 2), ("the first call", "first", 5)):
        seconds = found.figure("cold", core, figure)
        yield Line(5, what, None if seconds is None else 1e3 * seconds, limit, "ms")


def _faults(found: Results) -> Iterator[Line]:
    for name in map(found.usual, FASTEST):
        runs = [run for sample in found.contestants("faults").get(name, {}).get("rounds", []) for run in sample.values()]
        lost = sum(run["calls"] - run["ok"] for run in runs) if runs else None
        calls = sum(run["calls"] for run in runs)
        yield Line(6, f"faults: calls lost by {name}", lost, 0, "calls", f"of {calls:,}" if runs else "")
        times = median(run["took"] / run["ideal"] for run in runs) if runs else None
        yield Line(6, f"faults: {name} / ideal time", times, 1.1)
        requests = max(run["service"]["requests"] / run["calls"] for run in runs) if runs else None
        yield Line(6, f"faults: requests a call of {name}", requests, 1.25)


def _memory(found: Results) -> Iterator[Line]:
    for name in map(found.usual, FASTEST):
        yield Line(7, f"memory: peak / body of {name}", found.ratio("memory", (name, "peak"), (name, "body")), 2.4)
        left, kept, body = (found.figure("memory", name, figure) for figure in ("left", "utf8", "body"))
        measured = None if left is None or not body else left / body
        yield Line(7, f"memory: left after one call / body of {name}", measured, 0.05)
        measured = None if left is None or not body else max(0.0, left - (kept or 0)) / body
        note = f"Python keeps {kept / body:.2f} more with them" if kept and body else ""
        promise = f"memory: left after one call, beside the UTF-8 form of the caller's texts / body of {name}"
        yield Line(7, promise, measured, 0.05, note=note)
        retained = found.figure("memory", name, "retained")
        # what Python keeps for itself, such as interned names, is no document
        yield Line(7, f"memory: left by 5 more calls of {name}", None if retained is None else retained / 1e3, 10, "kB")
