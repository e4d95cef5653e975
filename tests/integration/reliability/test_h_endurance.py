"""Group H: what many calls and many objects leave behind, in sizes that fit into a suite.

The whole figures: ``python -m tests.soak --calls 10000 --faults 0%``, the same with ``--faults 100%``, and without either.
"""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from helpers.processes import Held, resident_memory
from helpers.services import COHERE, SERVICES, Service
from helpers.ways import one_loop, run
from integration.reliability.echo import TEXTS, acheck, check, queries
from integration.reliability.fault_server import Stage
from integration.reliability.faults import Fault, Raw, Status
from integration.reliability.mixture import FAILING, TRANSIENT
from integration.reliability.rows import row
from rerankkit import Client, RerankError, Retry
from soak import command, measure
from soak.run import Soak
from soak.summary import promises

ROOT = Path(__file__).parents[3]
MOST_GROWTH = 64 * 1024  # bytes of heap
MOST_MEMORY = 4 * 1024 * 1024  # bytes of memory, for a hundred clients
ONCE = Retry(attempts=1)

H1 = row("H1", "thousands of calls through one client", "leave no memory taken, no descriptor and no thread")
H2 = row("H2", "thousands of calls that fail, each kind of fault in turn", "leave no memory taken, no descriptor and no thread")
H3 = row("H3", "a hundred clients made, used and closed", "take less than 4 MB in all")
H4 = row(
    "H4",
    "a soak: every tenth request meets one of eighteen transient faults, threads and tasks call four services",
    "no wrong or lost answer, 99.9% succeed, nothing is left behind; `python -m tests.soak`",
)
H5 = row(
    "H5",
    "what a call costs over the HTTP library's own",
    "is measured: `python -m tests.benchmarks --scenario sync --scenario async`",
)
H6 = row("H6", "import and construction", "open no socket and look up no name")


@dataclass
class Growth:
    """What there is more of, in bytes and descriptors, and the threads that there were not before."""

    heap: int = 0
    descriptors: int = 0
    threads: set[threading.Thread] = field(default_factory=set)


def growth(work: Callable[[], None]) -> Growth:
    """What is there after *work* and was not before it; both after a garbage collection."""
    gc.collect()
    tracemalloc.start(1)
    try:
        threads, before, heap = set(threading.enumerate()), Held.now(), tracemalloc.get_traced_memory()[0]
        work()
        gc.collect()
        return Growth(
            tracemalloc.get_traced_memory()[0] - heap,
            Held.now().descriptors - before.descriptors,
            set(threading.enumerate()) - threads,
        )
    finally:
        tracemalloc.stop()


def assert_flat(work: Callable[[], None]) -> None:
    """Nothing grows.  A heap that does is measured again: a table of the interpreter's that had to double is no leak."""
    found = growth(work)
    heap = found.heap if found.heap < MOST_GROWTH else growth(work).heap
    assert heap < MOST_GROWTH
    assert abs(found.descriptors) <= 2
    assert found.threads == set()


def fewer(service: Service, count: int) -> int:
    """The whole *count* for one service, which has the code under it in common with the others."""
    return count if service is COHERE else count // 10


async def fill_threads() -> None:
    """The loop gets as many threads, for what blocks, as it ever has."""
    await asyncio.gather(*(asyncio.to_thread(time.sleep, 0.01) for _ in range(40)))


@H1
def test_calls_leave_nothing_behind(service: Service, stage: Stage, colour: str) -> None:
    def call(count: int) -> None:
        for query in queries("query", count):
            if colour == "sync":
                check(client, query)
            else:
                loop.run(acheck(client, query))

    with one_loop() as loop, Client(service.make(stage.url), transport=service.transport) as client:
        loop.run(fill_threads())
        call(100)
        assert_flat(lambda: call(fewer(service, 2_000 if colour == "sync" else 1_000)))


@H2
def test_failing_calls_leave_nothing_behind(service: Service, stage: Stage, colour: str) -> None:
    kinds: list[Fault] = [*FAILING.values(), Status(400), Status(401), Status(302), Raw(b"HTTP/1.1 200 OK\r\n\r\n{}")]

    def fail(count: int) -> None:
        for fault in kinds:
            stage.always(fault)
            for _ in range(count):
                with pytest.raises(RerankError):
                    run(colour, client, "rerank", "q", TEXTS, timeout=5)

    with one_loop() as loop, Client(service.make(stage.url), retry=ONCE, transport=service.transport) as client:
        loop.run(fill_threads())
        fail(5)
        assert_flat(lambda: fail(fewer(service, 50)))


@H3
def test_a_hundred_clients_take_little_memory(service: Service, stage: Stage, colour: str) -> None:
    async def use_async() -> None:
        async with Client(service.make(stage.url), transport=service.transport) as client:
            await acheck(client, "q")

    def use() -> None:
        with Client(service.make(stage.url), transport=service.transport) as client:
            check(client, "q")

    def use_all(count: int) -> int:
        for _ in range(count):
            if colour == "sync":
                use()
            else:
                asyncio.run(use_async())
        gc.collect()
        return resident_memory()

    before = use_all(30)
    assert use_all(100) - before < MOST_MEMORY


@H4
def test_a_short_soak_of_all_services_keeps_all_promises() -> None:
    with Soak(SERVICES, faults=0.1, workers=16) as soak:
        soak.go_on(1_000, None, lambda rest: None)
        if measure.growth(soak.rests) >= MOST_GROWTH:
            soak.go_on(3_000, None, lambda rest: None)  # what a late fault imports is no leak: it comes once
    broken = [f"{promise.text}: {promise.measured}" for promise in promises(soak, 1.0) if not promise.kept]
    assert broken == []
    assert soak.tally.right >= 0.995 * soak.tally.calls, "one in a thousand may fail, and so few say little"
    assert soak.tally.calls in (1_000, 3_000)
    assert soak.met.total() > 50


@H4
def test_a_soak_meets_every_fault_and_counts_what_it_cannot_mend() -> None:
    with Soak([COHERE], faults=1.0, workers=32) as soak:
        soak.go_on(300, None, lambda rest: None)
    assert set(soak.met) == set(TRANSIENT)
    assert soak.tally.failed
    assert soak.tally.right + soak.tally.failed.total() == 300


@H4
def test_a_soak_sees_a_wrong_answer_and_a_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Any] = []
    monkeypatch.setattr("soak.run.is_right", lambda response, query: kept.append(os.open(os.devnull, os.O_RDONLY)) or False)
    try:
        with Soak([COHERE], faults=0.0, workers=4) as soak:
            soak.go_on(20, None, lambda rest: None)
    finally:
        for descriptor in kept:
            os.close(descriptor)
    broken = [promise.text for promise in promises(soak, 0.0) if not promise.kept]
    assert broken == ["no wrong or lost answer", "at least 99.9% succeed", "descriptors as before, give or take 2"]


@H4
@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--calls", "200", "--faults", "0%", "--service", "voyage"], 0, "200 in"),
        (["--calls", "40", "--faults", "80%", "--service", "cohere"], 0, "retries"),
        (["--cancellations", "100", "--service", "kendra"], 0, "100 calls ended before their answer"),
        (["--faults", "110%"], 2, "is not between 0% and 100%"),
        (["--faults", "many"], 2, "write 10% or 0.1"),
    ],
)
def test_the_soak_is_a_command(arguments: list[str], code: int, told: str) -> None:
    done = CliRunner().invoke(command.main, arguments, catch_exceptions=False)
    assert (done.exit_code, told in done.output) == (code, True), done.output


@H4
def test_a_broken_promise_ends_the_soak_with_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("soak.run.is_right", lambda response, query: False)
    done = CliRunner().invoke(command.main, ["--calls", "20", "--service", "pinecone"])
    assert done.exit_code == 1
    assert "BROKEN" in done.output


OF_TWO = ("--contestant", "httpx", "--contestant", "core")


@H5
def test_the_cost_of_a_call_is_measured() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks", "--quick", "--rounds", "1", "--scenario", "async", *OF_TWO],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "| core[" in done.stdout
    assert "| httpx |" in done.stdout


NO_NETWORK = """
import sys
def watch(event, arguments):
    assert not event.startswith("socket."), (event, arguments)
sys.addaudithook(watch)
"""

CONSTRUCT: dict[str, str] = {
    "rerankkit": "import rerankkit\n"
    "for service in SERVICES: rerankkit.Client(service.make('https://rerank.test'))\n"
    "rerankkit.connect('cohere', api_key='k')",
    "langchain_rerankkit": "import langchain_rerankkit, rerankkit\n"
    "for service in SERVICES:\n"
    "    client = rerankkit.Client(service.make('https://rerank.test'))\n"
    "    langchain_rerankkit.RerankCompressor(reranker=client)\n"
    "langchain_rerankkit.CohereRerank(api_key='k')",
    "llamaindex_rerankkit": "import llamaindex_rerankkit, rerankkit\n"
    "for service in SERVICES:\n"
    "    client = rerankkit.Client(service.make('https://rerank.test'))\n"
    "    llamaindex_rerankkit.RerankPostprocessor(reranker=client)\n"
    "llamaindex_rerankkit.CohereRerank(api_key='k')",
}


@H6
@pytest.mark.parametrize("package", CONSTRUCT)
def test_import_and_construction_touch_no_network(package: str) -> None:
    program = f"{NO_NETWORK}{CONSTRUCT[package]}\nprint('done')".replace(
        "for service", "from helpers.services import SERVICES\nfor service", 1
    )
    assert _ran(program) == "done"


@H6
def test_the_watch_on_the_network_sees_a_look_up() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        _ran(f"{NO_NETWORK}import socket; socket.getaddrinfo('127.0.0.1', 80)")


def _ran(program: str) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()
