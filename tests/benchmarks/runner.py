"""Who has a turn when: rounds in shuffled order, so that whatever disturbs the machine disturbs all alike."""

from __future__ import annotations

import os
import platform
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

from benchmarks.contestants.contestant import Contestant
from benchmarks.processes import Process, Service, WorkerError
from benchmarks.scale import Scale
from benchmarks.scenarios import SCENARIOS, Scenario, Turn

STARTED_TOGETHER = 2

Progress = Callable[[str, str], None]  # the scenario, and what is done in it now


class Runner(AbstractContextManager["Runner"]):
    """Runs scenarios, and keeps the contestants' processes from one to the next."""

    def __init__(
        self, contestants: Mapping[str, type[Contestant]], scale: Scale, pythons: Mapping[str, str], progress: Progress
    ) -> None:
        self.contestants = contestants
        self.lanes = {name: f"lane{number}" for number, name in enumerate(contestants)}
        self.scale = scale
        self.pythons = pythons
        self.progress = progress
        self.service = Service()
        self.processes: dict[str, Process] = {}
        self.versions: dict[str, dict[str, str]] = {}
        self.failed: dict[str, str] = {}

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            process.close()
        self.service.__exit__()

    def run(self, scenarios: Sequence[str]) -> dict[str, Any]:
        """All results, as they go into JSON."""
        before, started = machine(), time.monotonic()
        found = {name: self.scenario(SCENARIOS[name]) for name in scenarios}
        return {
            "scale": self.scale.name,
            "machine": {**before, "load_after": load()},
            "seconds": time.monotonic() - started,
            "kinds": {name: one.kind for name, one in self.contestants.items()},
            "versions": self.versions,
            "failed": self.failed,
            "scenarios": found,
        }

    def scenario(self, scenario: Scenario) -> dict[str, Any]:
        """The figures of each contestant, and the samples they are medians of."""
        started = time.monotonic()
        names = [name for name, one in self.contestants.items() if scenario.takes(one, self.scale)]
        if not scenario.fresh:
            self.progress(scenario.name, "starting")
            names = self._started(names)
        samples: dict[str, list[Any]] = {name: [] for name in names}
        spent = dict.fromkeys(names, 0.0)
        for number, order in self._rounds(scenario, names):
            going = [name for name in order if name in samples and not self._enough(name, spent[name])]
            for name, sample, seconds in self._round(scenario, going, number):
                spent[name] += seconds
                if sample is None:
                    del samples[name]
                else:
                    samples[name].append(sample)
        figures = {name: {"figures": scenario.figures(found), "rounds": found} for name, found in samples.items() if found}
        self.progress(scenario.name, "")
        return {"title": scenario.title, "seconds": time.monotonic() - started, "contestants": figures}

    def _rounds(self, scenario: Scenario, names: Sequence[str]) -> Iterator[tuple[int, Sequence[str]]]:
        draw = random.Random(7)
        for number in range(scenario.rounds(self.scale)):
            yield number, draw.sample(names, len(names))

    def _enough(self, name: str, spent: float) -> bool:
        return spent > self.scale.patience and self.contestants[name].kind == "peer"

    def _round(self, scenario: Scenario, names: Sequence[str], number: int) -> Iterable[tuple[str, Any, float]]:
        """One after the other, or as many at a time as the scenario allows."""
        if scenario.together == 1:
            return [self._turn(scenario, name, number) for name in names]
        with ThreadPoolExecutor(scenario.together) as executor:
            return list(executor.map(lambda name: self._turn(scenario, name, number), names))

    def _turn(self, scenario: Scenario, name: str, number: int) -> tuple[str, Any, float]:
        """The contestant's name, its sample, None if it failed, and the seconds that it took."""
        started = time.monotonic()
        self.progress(scenario.name, f"round {number + 1} of {scenario.rounds(self.scale)}: {name}")
        try:
            return name, self._sample(scenario, name, number), time.monotonic() - started
        except WorkerError as error:
            self.failed[f"{scenario.name}: {name}"] = str(error)
            if name in self.processes:
                self.processes.pop(name).close()
            return name, None, time.monotonic() - started

    def _sample(self, scenario: Scenario, name: str, number: int) -> Any:
        one, python = self.contestants[name], self.pythons.get(name, sys.executable)
        turn = Turn(one, self.service, self.lanes[name], self.scale, number, python, self.processes.get(name))
        if not scenario.fresh or scenario.name == "cold":
            return scenario.turn(turn)
        turn.process = Process(one, python)
        try:
            turn.tell("open", url=turn.behave())
            return scenario.turn(turn)
        finally:
            turn.process.close()

    def _started(self, names: Sequence[str]) -> list[str]:
        """Those who have a process, after those who had none were given one."""
        with ThreadPoolExecutor(STARTED_TOGETHER) as executor:
            list(executor.map(self._start, [name for name in names if name not in self.processes]))
        return [name for name in names if name in self.processes]

    def _start(self, name: str) -> None:
        process = Process(self.contestants[name], self.pythons.get(name, sys.executable))
        try:
            url = f"{self.service.url}/{self.lanes[name]}"
            self.versions[name] = process.tell("open", url=url)["versions"]
            self.processes[name] = process
        except WorkerError as error:
            self.failed[name] = str(error)
            process.close()


def machine() -> dict[str, Any]:
    found = {"python": platform.python_version(), "system": platform.platform(), "cores": os.cpu_count()}
    return {**found, "time": datetime.now(UTC).strftime("%Y-%m-%d %H:%M"), "load_before": load()}


def load() -> float:
    """Processes that want to run, on the average of the last minute."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else 0.0
