"""Runs tests in forked children: what is imported once need not be imported for each mutant."""

from __future__ import annotations

import gc
import importlib
import os
import pickle
import signal
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from _pytest.config import default_plugins

from tests.mutation.mutants import Mutant

FOREIGN = (  # imported by the tests and no part of the package; whatever else they import, each child imports anew
    "anyio",
    "botocore.endpoint_provider",
    "botocore.session",
    "httptools",
    "httpx",
    "httpx2",
    "hypothesis",
    "orjson",
    "pydantic",
    "pytest_timeout",
    "starlette.applications",
    "uvicorn",
    "yaml",
)
OPTIONS = (
    *("--override-ini=addopts=", "--import-mode=importlib", "--assert=plain", "-q", "-p", "no:cacheprovider"),
    *("-p", "pytest_timeout", "-p", "rerankkit.testing.plugin"),
)
ELSEWHERE = "not langchain and not llamaindex"  # they go through the same lines as core does
PATIENCE = 5, 12.0  # times as long as before, and seconds more: a busy machine is not a mutant noticed


@dataclass
class Trace:
    """What the tests did with the unchanged package.

    Attributes:
        tests: By file and line, which ran it.
        seconds: How long each took.
        failed: They fail, or do when they are traced, and judge nothing.
    """

    tests: defaultdict[tuple[str, int], set[str]] = field(default_factory=lambda: defaultdict(set))
    seconds: dict[str, float] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)

    def chosen(self, file: str, mutant: Mutant, most: float) -> dict[str, float]:
        """The tests that can notice *mutant*, up to *most* seconds: the quickest, then the quickest case of each other."""
        lines = mutant.lines or {line for name, line in self.tests if name == file}
        found = set[str]().union(*(self.tests.get((file, line), ()) for line in lines)) - self.failed
        cases = sorted(found, key=lambda test: (self.seconds[test], test))
        quick = self._within(most / 2, cases)
        known = {test.partition("[")[0] for test in quick}
        others = {test.partition("[")[0]: test for test in reversed(cases) if test.partition("[")[0] not in known}
        further = sorted(others.values(), key=cases.index)
        return self._within(most, [*quick, *further, *cases[len(quick) :]])

    def _within(self, most: float, tests: Iterable[str]) -> dict[str, float]:
        """The first of *tests* that take up to *most* seconds together, and one in any case."""
        chosen: dict[str, float] = {}
        left = most
        for test in dict.fromkeys(tests):
            left -= self.seconds[test]
            if chosen and left < 0:
                break
            chosen[test] = self.seconds[test]
        return chosen


class _Tracer:
    """A plugin that notes the lines each test runs, in all threads."""

    def __init__(self, files: frozenset[str]) -> None:
        self.trace = Trace()
        self._files = files
        self._test = ""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._test, started = item.nodeid, time.perf_counter()
        threading.settrace(self._entered)
        sys.settrace(self._entered)
        try:
            return (yield)
        finally:
            sys.settrace(None)
            self.trace.seconds[item.nodeid] = time.perf_counter() - started

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.trace.failed.add(report.nodeid)

    def _entered(self, frame: FrameType, event: str, argument: object) -> Callable[..., Any] | None:
        return self._ran if frame.f_code.co_filename in self._files else None

    def _ran(self, frame: FrameType, event: str, argument: object) -> Callable[..., Any]:
        self.trace.tests[frame.f_code.co_filename, frame.f_lineno].add(self._test)
        return self._ran


class _Only:
    """A plugin that keeps the chosen tests, in their order."""

    def __init__(self, chosen: Sequence[str]) -> None:
        self._order = {test: number for number, test in enumerate(chosen)}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted((item for item in items if item.nodeid in self._order), key=lambda item: self._order[item.nodeid])


def prepare() -> None:
    """Import what is not to be mutated."""
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    sys.dont_write_bytecode = False
    for name in (*FOREIGN, *(f"_pytest.{plugin}" for plugin in default_plugins)):
        with suppress(ImportError):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()


def traced(files: Sequence[Path], tests: Sequence[str]) -> Trace:
    """What *tests* do in *files*."""
    with tempfile.NamedTemporaryFile() as answer:
        _run(lambda: _write_trace(answer.name, frozenset(map(str, files)), tests), 3_600)
        return pickle.loads(Path(answer.name).read_bytes())


def _write_trace(name: str, files: frozenset[str], tests: Sequence[str]) -> int:
    tracer = _Tracer(files)
    code = int(pytest.main([*OPTIONS, "-k", ELSEWHERE, *tests], plugins=[tracer]))
    Path(name).write_bytes(pickle.dumps(tracer.trace))
    return code


def is_noticed(mutant: Mutant, trace: Trace, chosen: Mapping[str, float]) -> bool:
    """Whether one of the *chosen* tests fails, or does not end, with *mutant*."""
    times, more = PATIENCE
    return any(
        _run(lambda some=some: _judge(mutant, some), times * sum(chosen[test] for test in some) + more) != 0
        for some in _closest_first(trace, chosen)
        if some
    )


def _closest_first(trace: Trace, chosen: Iterable[str]) -> tuple[list[str], list[str]]:
    """The tests of the two files that most of all have to do with it, which most often suffice, and those of the others."""
    whole = Counter(map(_file, trace.seconds))
    chosen = list(chosen)
    share = {file: count / whole[file] for file, count in Counter(map(_file, chosen)).items()}
    closest = sorted(share, key=lambda file: -share[file])[:2]
    return [test for test in chosen if _file(test) in closest], [test for test in chosen if _file(test) not in closest]


def _file(test: str) -> str:
    return test.partition("::")[0]


def _judge(mutant: Mutant, chosen: Sequence[str]) -> int:
    usual = SourceFileLoader.get_code
    SourceFileLoader.get_code = lambda self, name: mutant.code if name == mutant.module else usual(self, name)
    return int(pytest.main([*OPTIONS, "-x", *dict.fromkeys(map(_file, chosen))], plugins=[_Only(chosen)]))


def _run(job: Callable[[], int], seconds: float) -> int:
    """What *job* returns, in a child of its own without output; -1 if it takes longer than *seconds*."""
    child = os.fork()
    if not child:
        _be_child(job)
    deadline = time.monotonic() + seconds
    try:
        while time.monotonic() < deadline:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.01)
        return -1
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # it, or what it may have left behind
        with suppress(ChildProcessError):
            os.waitpid(child, 0)


def _be_child(job: Callable[[], int]) -> None:
    os.setsid()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    code = 99
    try:
        code = job()
    finally:
        os._exit(code)
