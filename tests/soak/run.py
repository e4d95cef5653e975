"""The run itself: threads and tasks that share clients, and a tally of what came of their calls."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from helpers.processes import Held
from helpers.services import Service
from integration.reliability.echo import TEXTS, is_right
from integration.reliability.fault_server import FaultServer, Stage, label
from integration.reliability.mixture import TRANSIENT
from rerankkit import Client, DeadlineExceededError, ProviderError, RerankError, RerankResponse
from soak.measure import Durations, Rest

LAPS = 20  # of a run, with a rest after each
SHORTEST_LAP = 500  # calls
LAP = 5_000  # calls, where only the time is given


class Tally:
    """What came of the calls.

    Attributes:
        wrong: Answers to something else, or short of a document.
        lost: Calls that ended in neither an answer nor an error of this package.
        failed: Errors of this package, by class.
        retries: Attempts after the first.
        lateness: Seconds by which the latest call missed its deadline.
    """

    def __init__(self) -> None:
        self.calls = self.right = self.wrong = self.retries = 0
        self.lost: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.durations = Durations()
        self.lateness = 0.0
        self._lock = threading.Lock()

    def add(self, seconds: float, timeout: float, outcome: RerankResponse[str] | BaseException, query: str) -> None:
        with self._lock:
            self.calls += 1
            self.durations.add(seconds)
            self.lateness = max(self.lateness, seconds - timeout)
            if isinstance(outcome, RerankResponse):
                is_own = is_right(outcome, query)
                self.right += is_own
                self.wrong += not is_own
                self.retries += outcome.usage.requests - 1
            elif isinstance(outcome, RerankError):
                self.failed[type(outcome).__name__] += 1
                self.retries += outcome.attempts - 1 if isinstance(outcome, ProviderError | DeadlineExceededError) else 0
            else:
                self.lost[repr(outcome)] += 1


class Soak:
    """One run.

    Attributes:
        before: What the process held before there was a client.
        after: What it held once all were closed.
        rests: The heap between laps.
        met: How often each fault was met.
        requests: How many the servers read whole.
    """

    def __init__(
        self, services: Sequence[Service], *, faults: float, workers: int, seed: int = 7, transport: str | None = None
    ) -> None:
        self.tally = Tally()
        self.rests: list[Rest] = []
        self.met: Counter[str] = Counter()
        self.requests = 0
        self.seconds = 0.0
        self._services = services
        self._faults = faults
        self._workers = workers
        self._seed = seed
        self._transport = transport
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        servers = [FaultServer() for _ in self._services]  # a process each: one would be what is measured
        for server in servers:
            self._stack.callback(server.stop)
        self._stages = [
            self._stack.enter_context(server.stage(service.name))
            for server, service in zip(servers, self._services, strict=True)
        ]
        for number, stage in enumerate(self._stages):
            stage.sometimes(self._faults, tuple(TRANSIENT.values()), self._seed + number)
        self._calls = self._stack.enter_context(ExitStack())
        tracemalloc.start(1)
        self._stack.callback(tracemalloc.stop)
        gc.collect()  # the sockets of whoever was here before are not missed afterwards
        self.before = self.after = Held.now()
        self._clients = [self._client(service, stage) for service, stage in zip(self._services, self._stages, strict=True)]
        self._threads = self._calls.enter_context(ThreadPoolExecutor(self._workers // 2))
        self._loop = self._calls.enter_context(asyncio.Runner())
        return self

    def _client(self, service: Service, stage: Stage) -> Client:
        return self._calls.enter_context(Client(service.make(stage.url), transport=self._transport))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._calls.close()
        self.after = Held.now()
        names = {label(fault): name for name, fault in TRANSIENT.items()}
        for stage in self._stages:
            self.requests += stage.count
            self.met.update({names[key]: count for key, count in stage.met.items() if key in names})
        self._stack.close()

    def go_on(self, calls: int, minutes: float | None, tell: Callable[[Rest], None]) -> None:
        """Make *calls*, or as many as *minutes* allow; *tell* is told at each rest."""
        started = time.monotonic()
        lap = LAP if minutes else max(SHORTEST_LAP, -(-calls // LAPS))
        while (time.monotonic() - started < minutes * 60) if minutes else self.tally.calls < calls:
            began, done = time.monotonic(), self.tally.calls
            self._lap(iter(range(done, done + lap if minutes else min(done + lap, calls))))
            rate = (self.tally.calls - done) / (time.monotonic() - began)
            self.rests.append(Rest.now(self.tally.calls, self.tally.failed.total(), rate))
            tell(self.rests[-1])
        self.seconds = time.monotonic() - started

    def _lap(self, numbers: Iterator[int]) -> None:
        """All of *numbers*, shared out among threads and tasks."""
        threads = [self._threads.submit(self._in_thread, numbers) for _ in range(self._workers // 2)]
        self._loop.run(self._in_loop(numbers))
        for thread in threads:
            thread.result()

    def _in_thread(self, numbers: Iterator[int]) -> None:
        for number in numbers:
            client, query = self._clients[number % len(self._clients)], f"thread's query {number}"
            started = time.monotonic()
            outcome: RerankResponse[str] | BaseException
            try:
                outcome = client.rerank(query, TEXTS)
            except Exception as error:  # noqa: BLE001 -- counted, whatever it is
                outcome = error
            self.tally.add(time.monotonic() - started, client.timeout, outcome, query)

    async def _in_loop(self, numbers: Iterator[int]) -> None:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._workers - self._workers // 2):
                tasks.create_task(self._in_task(numbers))

    async def _in_task(self, numbers: Iterator[int]) -> None:
        for number in numbers:
            client, query = self._clients[number % len(self._clients)], f"task's query {number}"
            started = time.monotonic()
            outcome: RerankResponse[str] | BaseException
            try:
                outcome = await client.arerank(query, TEXTS)
            except Exception as error:  # noqa: BLE001 -- as above
                outcome = error
            self.tally.add(time.monotonic() - started, client.timeout, outcome, query)
