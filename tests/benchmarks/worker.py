"""One contestant's process: takes orders as lines of JSON, answers in lines of JSON.  Needs nothing but the contestant."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import importlib.metadata
import json
import logging
import os
import platform
import sys
import time
import tracemalloc
import warnings
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.contestants import find
from benchmarks.contestants.contestant import TOP_N, Contestant
from benchmarks.corpus import best, query, texts

BEAT = 0.005  # seconds between two looks at the event loop
STATUS = Path("/proc/self/status")
ELSEWHERE = 1_000_000  # numbers of queries that only warm up


class WrongAnswerError(Exception):
    """An answer that is not right."""


def check(contestant: Contestant, answer: Any, number: int, count: int, size: int) -> None:
    found = contestant.pairs(answer)
    if found is None:
        return
    right = best(query(number), count, size, TOP_N)
    if [index for index, _ in found[:TOP_N]] != [index for index, _ in right]:
        raise WrongAnswerError(f"another order than the service's: {found[:3]}, not {right[:3]}")
    if any(abs(given - score) > 1e-6 for (_, given), (_, score) in zip(found, right, strict=False)):
        raise WrongAnswerError(f"other scores than the service's: {found[:3]}, not {right[:3]}")


async def beats(gaps: list[float]) -> None:
    """By how many seconds the event loop was late, each time."""
    while True:
        started = time.perf_counter()
        await asyncio.sleep(BEAT)
        gaps.append(time.perf_counter() - started - BEAT)


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else 0.0


class Worker:
    """What a contestant can be told to do; each method is one order."""

    def __init__(self, kind: type[Contestant]) -> None:
        self.kind = kind
        self.contestant: Any = None
        self.runner = asyncio.Runner()
        self.prepared: dict[tuple[int, int], Any] = {}

    def documents(self, count: int, size: int) -> Any:
        if (count, size) not in self.prepared:
            self.prepared[count, size] = self.contestant.prepare(texts(count, size))
        return self.prepared[count, size]

    def open(self, url: str) -> dict[str, Any]:
        """Make it anew: no connection, no memory of what happened before."""
        if self.contestant is not None:
            with suppress(Exception):
                self.runner.run(self.contestant.aclose())
        self.contestant = self.kind(url)
        gc.collect()
        gc.freeze()  # what was imported: a walk over it takes tens of milliseconds, whoever is measured then
        versions = {name: importlib.metadata.version(name) for name in self.kind.packages}
        return {"versions": {"python": platform.python_version(), **versions}}

    def call(self, number: int, count: int, size: int, *, blocking: bool) -> Any:
        documents = self.documents(count, size)
        if blocking:
            return self.contestant.rerank(query(number), documents)
        return self.runner.run(self.acall(number, documents))

    async def acall(self, number: int, documents: Any) -> Any:
        """A coroutine of our own, whatever the contestant returns."""
        return await self.contestant.arerank(query(number), documents)

    def serial(self, count: int, size: int, calls: int, *, warm: int = 2, blocking: bool = True) -> dict[str, Any]:
        """Seconds of each of *calls*, one after the other with the same documents, and of the processor for one."""
        check(self.contestant, self.call(0, count, size, blocking=blocking), 0, count, size)
        documents, asked = self.documents(count, size), query(0)
        block = self._blocking(documents, asked) if blocking else self._awaiting(documents, asked)
        block(warm)
        gc.collect()
        computed = time.process_time()
        seconds = block(calls)
        return {"seconds": seconds, "computed": (time.process_time() - computed) / calls}

    def _blocking(self, documents: Any, asked: str) -> Callable[[int], list[float]]:
        rerank = self.contestant.rerank

        def block(calls: int) -> list[float]:
            seconds: list[float] = []
            for _ in range(calls):
                started = time.perf_counter()
                rerank(asked, documents)
                seconds.append(time.perf_counter() - started)
            return seconds

        return block

    def _awaiting(self, documents: Any, asked: str) -> Callable[[int], list[float]]:
        arerank = self.contestant.arerank

        async def block(calls: int) -> list[float]:
            seconds: list[float] = []
            for _ in range(calls):
                started = time.perf_counter()
                await arerank(asked, documents)
                seconds.append(time.perf_counter() - started)
            return seconds

        return lambda calls: self.runner.run(block(calls))

    def burst(self, count: int, size: int, calls: int) -> dict[str, Any]:
        """All calls at once in one event loop: seconds for all, of the processor, and by which the loop was late."""
        documents, gaps, computed = self.documents(count, size), [], 0.0
        gc.collect()

        async def all_calls() -> tuple[list[Any], float]:
            nonlocal computed
            heart = asyncio.create_task(beats(gaps))
            await asyncio.sleep(0)
            computed = time.process_time()
            started = time.perf_counter()
            answers = await asyncio.gather(*(self.acall(number, documents) for number in range(calls)), return_exceptions=True)
            took = time.perf_counter() - started
            computed = time.process_time() - computed
            await asyncio.sleep(2 * BEAT)
            heart.cancel()
            return answers, took

        answers, took = self.runner.run(all_calls())
        failures = self._failures(list(enumerate(answers)), count, size)
        lag = {"lag_p99": quantile(gaps, 0.99), "lag_max": max(gaps)}
        return {"took": took, "computed": computed, **lag, "failures": failures, "ok": calls - sum(failures.values())}

    def once(self, count: int, size: int, *, blocking: bool) -> dict[str, Any]:
        """Seconds of one call, whatever comes of it."""
        self.documents(count, size)
        started = time.perf_counter()
        try:
            answer = self.call(0, count, size, blocking=blocking)
        except Exception as error:  # noqa: BLE001 -- that it fails is a figure, too
            answer = error
        took = time.perf_counter() - started
        return {"took": took, "failures": self._failures([(0, answer)], count, size)}

    def warm(self, count: int, size: int, at_a_time: int, *, blocking: bool) -> dict[str, Any]:
        """Open connections; a cache learns nothing that is asked for later."""
        documents, numbers = self.documents(count, size), list(range(ELSEWHERE, ELSEWHERE + at_a_time))
        if blocking:
            self._in_threads(numbers, documents, at_a_time, lambda *_: None)
        else:
            self.runner.run(self._in_tasks(numbers, documents, at_a_time, lambda *_: None))
        return {}

    def stream(self, count: int, size: int, calls: int, at_a_time: int, *, blocking: bool, same: bool) -> dict[str, Any]:
        """Calls one after the other by *at_a_time* callers: seconds for all and of each, and what failed."""
        documents = self.documents(count, size)
        numbers = [0 if same else number for number in range(calls)]
        took: list[float] = []
        answers: list[tuple[int, Any]] = []

        def noted(number: int, started: float, answer: Any) -> None:
            took.append(time.perf_counter() - started)
            answers.append((number, answer))

        gc.collect()
        started = time.perf_counter()
        if blocking:
            self._in_threads(numbers, documents, at_a_time, noted)
        else:
            self.runner.run(self._in_tasks(numbers, documents, at_a_time, noted))
        wall = time.perf_counter() - started
        failures = self._failures(answers, count, size)
        quantiles = {f"p{share}": quantile(took, share / 100) for share in (50, 95, 99)}
        return {"took": wall, **quantiles, "max": max(took), "failures": failures, "ok": calls - sum(failures.values())}

    def _in_threads(self, numbers: list[int], documents: Any, at_a_time: int, noted: Callable[..., None]) -> None:
        def one(number: int) -> None:
            started = time.perf_counter()
            try:
                answer = self.contestant.rerank(query(number), documents)
            except Exception as error:  # noqa: BLE001 -- that it fails is a figure, too
                answer = error
            noted(number, started, answer)

        with ThreadPoolExecutor(at_a_time) as executor:
            list(executor.map(one, numbers))

    async def _in_tasks(self, numbers: list[int], documents: Any, at_a_time: int, noted: Callable[..., None]) -> None:
        left = iter(numbers)

        async def caller() -> None:
            for number in left:
                started = time.perf_counter()
                try:
                    answer = await self.acall(number, documents)
                except Exception as error:  # noqa: BLE001 -- that it fails is a figure, too
                    answer = error
                noted(number, started, answer)

        await asyncio.gather(*(caller() for _ in range(at_a_time)))

    def _failures(self, answers: list[tuple[int, Any]], count: int, size: int) -> dict[str, int]:
        """How many of what: exceptions by their names, and answers that are not right."""
        found: Counter[str] = Counter()
        for number, answer in answers:
            try:
                check(self.contestant, answer, number, count, size)
            except Exception as error:  # noqa: BLE001 -- counted
                kind = type(answer if isinstance(answer, BaseException) else error)
                found[f"{kind.__module__.partition('.')[0]}.{kind.__name__}"] += 1
        return dict(found)

    def memory(self, count: int, size: int) -> dict[str, Any]:
        """Bytes: of the texts, at most in use beyond what was before the call, left of it, and left by five more.

        The last by Python's allocator, the others by the kernel's count of this process. "utf8" are those that Python itself
        keeps of a call: the UTF-8 form of a text that is not ASCII stays with the text, which is the caller's.
        """
        check(self.contestant, self.contestant.rerank(query(0), self.documents(10, 1_000)), 0, 10, 1_000)
        documents = self.documents(count, size)
        encoded = {text: len(text.encode()) for text in texts(count, size)}
        body, utf8 = sum(encoded.values()), sum(length for text, length in encoded.items() if not text.isascii())
        _give_back()
        before = _resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")
        answer = self.contestant.rerank(query(0), documents)
        peak = _resident("VmHWM") - before
        check(self.contestant, answer, 0, count, size)
        del answer
        _give_back()
        left = _resident("VmRSS") - before
        return {"body": body, "peak": peak, "left": left, "utf8": utf8, "retained": self._retained(documents)}

    def _retained(self, documents: Any) -> int:
        tracemalloc.start()
        self.contestant.rerank(query(0), documents)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(5):
            self.contestant.rerank(query(0), documents)
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return after - before


def _give_back() -> None:
    """What the allocator keeps of memory that is free would hide the next call's need."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def _resident(name: str) -> int:
    return next(int(line.split()[1]) * 1024 for line in STATUS.read_text().splitlines() if line.startswith(f"{name}:"))


def obey(worker: Worker, line: str) -> dict[str, Any]:
    order = json.loads(line)
    try:
        return getattr(worker, order.pop("order"))(**order)
    except Exception as error:  # noqa: BLE001 -- told to whoever gave the order
        return {"error": f"{type(error).__name__}: {str(error)[:300]}"}


def main() -> None:
    module, name, core = sys.argv[1:]
    told = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints is no answer
    if core:
        os.sched_setaffinity(0, {int(core)})
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    worker = Worker(find(module, name))
    for line in sys.stdin:
        told.write(json.dumps(obey(worker, line)) + "\n")
    os._exit(0)  # some libraries' threads would not let it end
