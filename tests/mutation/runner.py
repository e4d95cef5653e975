"""Runs tests with mutants of the package, in forked children of one process that has collected them all.

A child puts the changed code into the function that is there. What is run at import only (constants, defaults) is
imported anew, and the tests with it, which takes longer.
"""

from __future__ import annotations

import gc
import inspect
import os
import pickle
import signal
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any

import pytest

from tests.mutation.mutants import Mutant

OPTIONS = (
    *("--override-ini=addopts=", "--import-mode=importlib", "--assert=plain", "-q", "-s", "-p", "no:cacheprovider"),
    *("-p", "pytest_timeout", "--timeout=10", "-p", "rerankkit.testing.plugin"),
)
ELSEWHERE = "not langchain and not llamaindex"  # they go through the same lines as core does
OWN = ("rerankkit", "langchain_rerankkit", "llamaindex_rerankkit", "helpers", "tests.", "conftest")
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

    def chosen(self, mutant: Mutant, most: float) -> list[str]:
        """The tests that can notice *mutant*, up to *most* seconds: the quickest, then the quickest case of each other."""
        file = mutant.code.co_filename
        lines = mutant.lines or {line for name, line in self.tests if name == file}
        found = set[str]().union(*(self.tests.get((file, line), ()) for line in lines)) - self.failed
        cases = sorted(found, key=lambda test: (self.seconds[test], test))
        quick = self._within(most / 2, cases)
        known = {_function(test) for test in quick}
        others = {_function(test): test for test in reversed(cases) if _function(test) not in known}
        return self._within(most, [*quick, *sorted(others.values(), key=cases.index), *cases[len(quick) :]])

    def _within(self, most: float, tests: Iterable[str]) -> list[str]:
        """The first of *tests* that take up to *most* seconds together, and one in any case."""
        chosen: list[str] = []
        left = most
        for test in dict.fromkeys(tests):
            left -= self.seconds[test]
            if chosen and left < 0:
                break
            chosen.append(test)
        return chosen


def _function(test: str) -> str:
    return test.partition("[")[0]


class _Tracer:
    """Notes the lines each test runs, in all threads."""

    def __init__(self, files: frozenset[str]) -> None:
        self.trace = Trace()
        self._files = files
        self._test = ""

    def run(self, item: pytest.Item, following: pytest.Item | None) -> None:
        self._test, started, failed = item.nodeid, time.perf_counter(), item.session.testsfailed
        threading.settrace(self._entered)
        sys.settrace(self._entered)
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        sys.settrace(None)
        self.trace.seconds[item.nodeid] = time.perf_counter() - started
        if item.session.testsfailed > failed:
            self.trace.failed.add(item.nodeid)

    def _entered(self, frame: FrameType, event: str, argument: object) -> Callable[..., Any] | None:
        return self._ran if frame.f_code.co_filename in self._files else None

    def _ran(self, frame: FrameType, event: str, argument: object) -> Callable[..., Any]:
        self.trace.tests[frame.f_code.co_filename, frame.f_lineno].add(self._test)
        return self._ran


class Collected:
    """The tests and the package, as they are before any of them has run."""

    def __init__(self, items: Sequence[pytest.Item]) -> None:
        self._items = {item.nodeid: item for item in items}
        gc.collect()
        self._functions = {_place(found.__code__): found for found in gc.get_objects() if isinstance(found, FunctionType)}
        gc.freeze()

    def traced(self, files: Iterable[str]) -> Trace:
        """What the tests do in *files*."""
        with tempfile.NamedTemporaryFile() as answer:
            _run(lambda: self._write_trace(answer.name, frozenset(files)), 3_600)
            return pickle.loads(Path(answer.name).read_bytes())

    def _write_trace(self, name: str, files: frozenset[str]) -> int:
        tracer = _Tracer(files)
        for item, following in _pairs(list(self._items.values())):
            tracer.run(item, following)
        return Path(name).write_bytes(pickle.dumps(tracer.trace)) and 0

    def notice(self, mutant: Mutant, trace: Trace, chosen: Sequence[str]) -> bool:
        """Whether one of the *chosen* tests fails, or does not end, with *mutant*."""
        times, more = PATIENCE
        patience = times * sum(trace.seconds[test] for test in chosen) + more
        return bool(chosen) and _run(lambda: self._judge(mutant, chosen), patience) != 0

    def _judge(self, mutant: Mutant, chosen: Sequence[str]) -> int:
        changed = [(function, code) for code in _codes(mutant.code) if (function := self._differing(code))]
        if not mutant.lines or not changed or not all(_fits(function.__code__, code) for function, code in changed):
            return _judge_anew(mutant, chosen)
        for function, code in changed:
            function.__code__ = code
        for item, following in _pairs([self._items[test] for test in chosen]):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if item.session.testsfailed:
                return 1
        return 0

    def _differing(self, code: CodeType) -> FunctionType | None:
        """The function in whose place *code* stands, if it is another one."""
        found = self._functions.get(_place(code))
        return found if found and found.__code__ != code else None


class _Only:
    """A plugin that keeps the chosen tests, in their order."""

    def __init__(self, chosen: Sequence[str]) -> None:
        self._order = {test: number for number, test in enumerate(chosen)}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted((item for item in items if item.nodeid in self._order), key=lambda item: self._order[item.nodeid])


def _judge_anew(mutant: Mutant, chosen: Sequence[str]) -> int:
    for name in [name for name in sys.modules if name.startswith(OWN) and not name.startswith("tests.mutation")]:
        del sys.modules[name]
    usual = SourceFileLoader.get_code
    SourceFileLoader.get_code = lambda self, name: mutant.code if name == mutant.module else usual(self, name)
    return int(pytest.main([*OPTIONS, "-x", *dict.fromkeys(test.partition("::")[0] for test in chosen)], [_Only(chosen)]))


def _pairs(items: Sequence[pytest.Item]) -> Iterator[tuple[pytest.Item, pytest.Item | None]]:
    return zip(items, [*items[1:], None], strict=True)


def _place(code: CodeType) -> tuple[str, str, int]:
    return code.co_filename, code.co_qualname, code.co_firstlineno


def _codes(code: CodeType) -> Iterator[CodeType]:
    """Those of a module's functions and of its classes' methods; what is inside them comes with them."""
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from [constant] if constant.co_flags & inspect.CO_OPTIMIZED else _codes(constant)


def _fits(old: CodeType, new: CodeType) -> bool:
    """Whether a function with the one may be given the other."""
    return (old.co_freevars, old.co_flags) == (new.co_freevars, new.co_flags)


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
            time.sleep(0.005)
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


class _Instead:
    """A plugin that does something else with the collected tests than to run them."""

    def __init__(self, job: Callable[[Collected], None]) -> None:
        self._job = job

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self._job(Collected(session.items))
        return True


def collect(tests: Sequence[str], job: Callable[[Collected], None]) -> None:
    """Give *tests* and all that they import to *job*."""
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    sys.dont_write_bytecode = False  # a child that imports anew would compile it all
    if pytest.main([*OPTIONS, "-k", ELSEWHERE, *tests], [_Instead(job)]):
        raise SystemExit("the tests could not be collected")
