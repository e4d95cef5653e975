"""One client through everything at once: calls in both colours, failures, cancellations, forks, closing, and time that passes.

Whatever came before, each answer is that of its own query, with each document once; and the next call works.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
import time
import warnings
from collections import defaultdict, deque
from collections.abc import Callable, Coroutine, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from helpers.properties import tries
from helpers.server import Received, Reply, recorder
from helpers.services import COHERE, KEY
from rerankkit import Client, Cohere, InvalidRequestError, RerankError, RerankResponse, Retry, _io, errors
from rerankkit import deadline as deadline_module
from rerankkit.provider import Limits

COLOURS = ("sync", "a loop of its own", "the kept loop")
ATTEMPTS = 3
TIMEOUT = 100  # seconds of the patched clock
PATIENCE = 30  # seconds of the real one; nothing here takes one of them unless something hangs


class InThrees(Cohere):
    """Cohere, but with lists of four and more cut into batches."""

    default_limits = Limits(3)


def _hang_up() -> Reply:
    raise ConnectionResetError


FAULTS: dict[str, tuple[type[RerankError], Callable[[], Reply]]] = {
    "500": (errors.ServerError, lambda: Reply(b"{}", 500)),
    "429": (errors.RateLimitError, lambda: Reply(b"{}", 429)),
    "busy": (errors.RateLimitError, lambda: Reply(b"{}", 429, {"Retry-After": "2"})),
    "busy for an hour": (errors.RateLimitError, lambda: Reply(b"{}", 429, {"Retry-After": "3600"})),
    "too late": (errors.ServerError, lambda: Reply(b"{}", 503)),
    "400": (errors.BadRequestError, lambda: Reply(b"{}", 400)),
    "hang up": (errors.APIConnectionError, _hang_up),
}
HEALING = ("500", "429", "busy", "hang up")


def score(query: str, text: str) -> float:
    """Says which query and which text it belongs to."""
    return float(query.rpartition(" ")[2]) + float(text.rpartition(" ")[2]) / 1_000


class Clock:
    """The real one, and what was added to it: nobody waits."""

    def __init__(self) -> None:
        self.added = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.added

    async def sleep(self, seconds: float) -> None:
        self.added += seconds

    async def asleep(self, seconds: float) -> None:
        await asyncio.sleep(0)
        self.added += seconds


class OneClient(RuleBasedStateMachine):
    """A client, the service it speaks to, and a loop that is kept between calls."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(deadline_module, "time", SimpleNamespace(monotonic=self.clock.monotonic))
        self.patch.setattr(type(_io.BLOCKING), "sleep", lambda _, seconds: self.clock.sleep(seconds))
        self.patch.setattr(type(_io.ASYNC), "sleep", lambda _, seconds: self.clock.asleep(seconds))
        self.faults: deque[str] = deque()
        self.told: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        self.gate = threading.Event()
        self.gate.set()
        self.serving = recorder(self.answer)
        self.server = self.serving.__enter__()
        self.runner = asyncio.Runner()
        self.number = 0
        self.closed: list[Client] = []

    def answer(self, request: Received) -> Reply:
        """The service's: the next fault, or the scores.  Probes are always answered."""
        query, first = request.json["query"], request.json["documents"][0]
        fault = self.faults.popleft() if self.faults and query.startswith(("query", "cancelled")) else None
        if fault == "too late" and query.startswith("cancelled"):
            fault = "500"  # the time would be over for the call after it
        self.told[query][first].append(fault or "ok")
        if query.startswith("held"):
            self.gate.wait(PATIENCE)
        if fault == "too late":
            self.clock.added += 10 * TIMEOUT
        return FAULTS[fault][1]() if fault else COHERE.scored(score)(request)

    # What can happen

    @initialize(transport=st.sampled_from(["httpx", None]))
    def open(self, transport: Any) -> None:
        provider = InThrees("a-small-model", api_key=KEY, base_url=self.server.url)
        self.transport = transport
        self.client = Client(provider, timeout=TIMEOUT, retry=Retry(ATTEMPTS, budget=None), transport=transport)

    @rule(faults=st.lists(st.sampled_from([*HEALING, *FAULTS]), min_size=1, max_size=5))
    def fail(self, faults: list[str]) -> None:
        self.faults.extend(faults)

    @rule(seconds=st.floats(0, 1e6))
    def advance_clock(self, seconds: float) -> None:
        self.clock.added += seconds

    @rule(
        positions=st.lists(st.integers(0, 9), min_size=1, max_size=8, unique=True),
        top_n=st.none() | st.integers(1, 9),
        colour=st.sampled_from(COLOURS),
    )
    def call(self, positions: list[int], top_n: int | None, colour: str) -> None:
        """Distinct texts and a blank one; batches are told apart by their first text."""
        query, texts = self.next_query("query"), [f"text {position}" if position else "" for position in positions]
        try:
            response = self.ranked(colour, query, texts, top_n)
        except RerankError as error:
            self.check_error(query, error)
        else:
            check_response(query, texts, top_n, response)
            told = self.told[query]
            assert all(of_batch[-1] == "ok" and set(of_batch[:-1]) <= {*HEALING} for of_batch in told.values())
            assert response.usage.requests == sum(map(len, told.values()))
        assert all(_fewest(of_batch) <= ATTEMPTS for of_batch in self.told[query].values())

    def check_error(self, query: str, error: RerankError) -> None:
        """It is the last thing that the service said, and there was reason to give up."""
        told = dict(self.told[query])
        if any("too late" in of_batch for of_batch in told.values()):
            assert isinstance(error, errors.DeadlineExceededError | errors.ProviderError)
        else:
            assert any(
                type(error) is FAULTS.get(of_batch[-1], (None,))[0]
                and (_fewest(of_batch) <= ATTEMPTS <= len(of_batch) or of_batch[-1] not in HEALING)
                and error.attempts == len(of_batch)
                for of_batch in told.values()
            ), (error, told)

    @rule(steps=st.integers(0, 40), held=st.booleans(), kept=st.booleans(), count=st.integers(1, 7))
    def cancel(self, steps: int, count: int, *, held: bool, kept: bool) -> None:
        """After so many turns of the loop, or while the service is at work."""
        query, texts = (
            self.next_query("held" if held else "cancelled"),
            [f"text {position}" for position in range(1, count + 1)],
        )
        (self.gate.clear if held else self.gate.set)()
        try:
            self.run(self.cancelled(query, texts, steps), kept=kept)
        finally:
            self.gate.set()

    async def cancelled(self, query: str, texts: list[str], steps: int) -> None:
        call = asyncio.ensure_future(self.client.arerank(query, texts))
        if query.startswith("held"):
            await _until(lambda: bool(self.told[query]))
        for _ in range(steps):
            await asyncio.sleep(0)
        call.cancel()
        (outcome,) = await asyncio.gather(call, return_exceptions=True)
        if isinstance(outcome, RerankResponse):
            check_response(query, texts, None, outcome)
        elif isinstance(outcome, RerankError):
            self.check_error(query, outcome)
        else:
            assert isinstance(outcome, asyncio.CancelledError), repr(outcome)

    @rule()
    def fork(self) -> None:
        """The child calls at the same time as its parent, and both get their own answers."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: the test server's threads do not fork along
            child = os.fork()
        if not child:
            self.work_and_exit()
        try:
            for _ in range(3):
                self.probe("sync")
        finally:
            code = _exit_code(child)
        assert code == 0, "the child got its own answers"

    def work_and_exit(self) -> None:
        try:
            self.number += 1_000_000  # not the parent's queries
            for colour in ("sync", "a loop of its own"):
                self.probe(colour)
        except BaseException:  # noqa: BLE001 -- the exit code says it
            os._exit(1)
        os._exit(0)

    @rule(how=st.sampled_from(["close", "aclose", "twice"]))
    def close(self, how: str) -> None:
        """A closed client refuses, and sends nothing; another one takes its place."""
        if how == "aclose":
            self.runner.run(self.client.aclose())
        else:
            self.client.close()
        if how == "twice":
            self.client.close()
        sent = len(self.server.requests)
        for colour in COLOURS:
            with pytest.raises(InvalidRequestError, match="this client is closed"):
                self.probe(colour)
        assert len(self.server.requests) == sent
        self.closed.append(self.client)  # what it has open in the kept loop is closed with that loop
        self.open(self.transport)

    # What always holds

    @invariant()
    def the_next_call_works(self) -> None:
        for colour in COLOURS:
            self.probe(colour)

    def probe(self, colour: str) -> None:
        query, texts = self.next_query("probe"), ["text 1", "", "text 3", "text 2", "text 4"]
        check_response(query, texts, 4, self.ranked(colour, query, texts, 4))

    # By which means

    def next_query(self, kind: str) -> str:
        self.number += 1
        return f"{kind} {self.number}"

    def ranked(self, colour: str, query: str, texts: Sequence[str], top_n: int | None) -> RerankResponse[str]:
        if colour == "sync":
            return self.client.rerank(query, texts, top_n=top_n)
        return self.run(self.client.arerank(query, texts, top_n=top_n), kept=colour == "the kept loop")

    def run(self, work: Coroutine[Any, Any, Any], *, kept: bool) -> Any:
        bounded = asyncio.wait_for(work, PATIENCE)
        return self.runner.run(bounded) if kept else asyncio.run(bounded)

    def teardown(self) -> None:
        if hasattr(self, "client"):
            self.client.close()
        self.runner.close()
        self.serving.__exit__(None, None, None)
        self.patch.undo()
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            del self.closed[:], self.client
            gc.collect()
        assert not seen, [str(warning.message) for warning in seen]


def check_response(query: str, texts: Sequence[str], top_n: int | None, response: RerankResponse[str]) -> None:
    """All documents, each once, with the score of this very query; the best first, and what is blank last."""
    ranked = sorted((index for index, text in enumerate(texts) if text), key=lambda index: (-score(query, texts[index]), index))
    expected = [
        *((index, score(query, texts[index])) for index in ranked),
        *((i, None) for i, text in enumerate(texts) if not text),
    ]
    assert [(result.index, result.relevance_score) for result in response] == expected[:top_n]


def _fewest(of_batch: Sequence[str]) -> int:
    """How many attempts there were at least: a kept connection that hangs up is replaced, which is none."""
    return len(of_batch) - of_batch.count("hang up")


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 -- what is waited for happens in a thread
            await asyncio.sleep(0.001)


def _exit_code(child: int) -> int:
    """Of a child process; one that hangs is ended."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


TestOneClient = OneClient.TestCase
TestOneClient.settings = settings(
    tries(25),
    stateful_step_count=20,
    phases=[Phase.generate],  # a failure is told with all its steps: looking for fewer takes minutes
    suppress_health_check=[HealthCheck.too_slow],
)
