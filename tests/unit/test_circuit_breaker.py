"""It opens, waits, tries and closes as told, whoever calls; open, it sends nothing."""

from __future__ import annotations

import asyncio
import copy
import logging
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from helpers.processes import fork
from helpers.properties import tries
from helpers.server import Reply, recorder
from helpers.services import COHERE
from helpers.ways import run
from rerankkit import (
    APIConnectionError,
    AuthenticationError,
    BadRequestError,
    Client,
    ConflictError,
    DeadlineExceededError,
    InvalidRequestError,
    InvalidResponseError,
    PaymentRequiredError,
    RateLimitError,
    RerankError,
    Retry,
    ServerError,
)
from rerankkit.errors import BudgetExceededError, CircuitOpenError
from rerankkit.resilience import circuit_breaker
from rerankkit.resilience.circuit_breaker import CircuitBreaker, _Circuit, _Rules
from rerankkit.resilience.fallback import Fallback
from rerankkit.resilience.passthrough import Passthrough
from rerankkit.testing import FakeReranker

TEXTS = ["a", "b"]


class Clock:
    """Stands still unless it is told."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(circuit_breaker, "time", clock)
    return clock


class Service(FakeReranker):
    """Fails while it is told to, and takes its time on the clock."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self.seconds = 0.0
        self.error: Callable[[str], Exception] | None = None

    async def _wait(self, io: Any, request: Any) -> None:
        self.clock.now += self.seconds
        if self.error:
            raise self.error("as told")


def call(colour: str, breaker: CircuitBreaker, times: int = 1) -> list[str]:
    """What came of each call."""
    found: list[str] = []
    for _ in range(times):
        try:
            run(colour, breaker, "rerank", "q", TEXTS)
        except Exception as error:  # noqa: BLE001 -- whatever came is looked at
            found.append(type(error).__name__)
        else:
            found.append("served")
    return found


def opened(colour: str, clock: Clock, **options: Any) -> tuple[CircuitBreaker, Service]:
    service = Service(clock)
    breaker = CircuitBreaker(service, **{"window": 4, "least": 2, **options})
    service.error = ServerError
    call(colour, breaker, 2)
    assert breaker.state == "open"
    service.error = None
    service.calls.clear()
    return breaker, service


def test_it_opens_when_too_many_fail_and_then_sends_nothing(colour: str, clock: Clock) -> None:
    service = Service(clock)
    breaker = CircuitBreaker(service)
    assert call(colour, breaker, 6) == ["served"] * 6
    service.error = ServerError
    assert call(colour, breaker, 8) == ["ServerError"] * 6 + ["CircuitOpenError"] * 2
    assert breaker.state == "open"
    assert len(service.calls) == 12


def test_a_refusal_says_why_and_how_long(colour: str, clock: Clock) -> None:
    breaker, _ = opened(colour, clock, open_seconds=30)
    clock.now += 17.5
    with pytest.raises(CircuitOpenError) as caught:
        run(colour, breaker, "rerank", "q", TEXTS)
    assert caught.value.retry_after == 12.5
    assert str(caught.value) == "fake:fake is left alone for another 12.5 s: 2 of the last 2 calls failed"


def test_it_does_not_judge_by_fewer_calls_than_the_least(colour: str, clock: Clock) -> None:
    service = Service(clock)
    service.error = ServerError
    breaker = CircuitBreaker(service, least=10)
    call(colour, breaker, 9)
    assert breaker.state == "closed"
    call(colour, breaker)
    assert breaker.state == "open"


def test_only_the_latest_calls_are_looked_at(colour: str, clock: Clock) -> None:
    service = Service(clock)
    breaker = CircuitBreaker(service, failure_rate=0.5, window=4, least=4)
    for error in (ServerError, None, None, None) * 5:
        service.error = error
        call(colour, breaker)
    assert breaker.state == "closed"
    service.error = ServerError
    call(colour, breaker)
    assert breaker.state == "closed"
    call(colour, breaker)
    assert breaker.state == "open"


@pytest.mark.parametrize(("rate", "many", "opens"), [(0.1, 30, 3), (0.5, 9, 5), (1.0, 7, 7), (0.001, 10, 1), (0.3, 10, 3)])
def test_it_opens_at_the_rate_and_not_below(clock: Clock, rate: float, many: int, opens: int) -> None:
    service = Service(clock)
    breaker = CircuitBreaker(service, failure_rate=rate, window=many, least=many)
    for failures, state in ((opens - 1, "closed"), (opens, "open")):
        for number in range(many):
            service.error = ServerError if number < failures else None
            call("sync", breaker)
        assert breaker.state == state


OUTAGES = [
    APIConnectionError,
    ConflictError,
    DeadlineExceededError,
    InvalidResponseError,
    PaymentRequiredError,
    RateLimitError,
    ServerError,
]


@pytest.mark.parametrize("error", OUTAGES)
def test_outages_count(clock: Clock, error: type[RerankError]) -> None:
    service = Service(clock)
    service.error = error
    breaker = CircuitBreaker(service, window=2, least=2)
    assert call("sync", breaker, 3) == [error.__name__] * 2 + ["CircuitOpenError"]


NEUTRAL = [
    AuthenticationError,
    BadRequestError,
    BudgetExceededError,
    InvalidRequestError,
    lambda text: CircuitOpenError(text, retry_after=1.0),
    ZeroDivisionError,
]


@pytest.mark.parametrize("error", NEUTRAL)
def test_the_callers_mistakes_count_neither_way(colour: str, clock: Clock, error: Callable[[str], Exception]) -> None:
    service = Service(clock)
    breaker = CircuitBreaker(service, window=4, least=2, failure_rate=0.5)
    service.error = ServerError
    call(colour, breaker)
    service.error = error
    call(colour, breaker, 20)
    assert breaker.state == "closed"
    service.error = ServerError
    call(colour, breaker)
    assert breaker.state == "open"


def test_it_opens_when_too_many_are_slow(colour: str, clock: Clock) -> None:
    service = Service(clock)
    breaker = CircuitBreaker(service, slow_after=2.0, slow_rate=0.75, window=4, least=4)
    for seconds in (2.0, 2.5, 2.5, 2.0):
        service.seconds = seconds
        call(colour, breaker)
        assert breaker.state == "closed"
    service.seconds = 2.5
    call(colour, breaker)
    assert breaker.state == "open"
    with pytest.raises(CircuitOpenError, match=r"3 of the last 4 calls took longer than 2 s"):
        run(colour, breaker, "rerank", "q", TEXTS)


def test_slowness_does_not_count_unless_it_is_said_what_is_slow(clock: Clock) -> None:
    service = Service(clock)
    service.seconds = 1e6
    breaker = CircuitBreaker(service, least=1)
    assert call("sync", breaker, 40) == ["served"] * 40


def test_after_its_time_it_tries_and_closes_with_a_clean_slate(colour: str, clock: Clock) -> None:
    breaker, service = opened(colour, clock, open_seconds=30)
    clock.now += 29.9
    assert call(colour, breaker) == ["CircuitOpenError"]
    clock.now += 0.2
    assert breaker.state == "half_open"
    assert call(colour, breaker) == ["served"]
    assert breaker.state == "closed"
    service.error = ServerError
    call(colour, breaker)
    assert breaker.state == "closed"


@pytest.mark.parametrize("how", ["failed", "slow"])
def test_a_try_that_fails_or_is_slow_opens_it_again(colour: str, clock: Clock, how: str) -> None:
    breaker, service = opened(colour, clock, open_seconds=30, slow_after=1.0)
    clock.now += 31
    service.error = ServerError if how == "failed" else None
    service.seconds = 5.0 if how == "slow" else 0.0
    call(colour, breaker)
    assert breaker.state == "open"
    with pytest.raises(CircuitOpenError, match="it was tried again and") as caught:
        run(colour, breaker, "rerank", "q", TEXTS)
    assert caught.value.retry_after == 30
    assert len(service.calls) == 1


@pytest.mark.parametrize("error", NEUTRAL)
def test_a_try_that_says_nothing_leaves_its_place_to_the_next(
    colour: str, clock: Clock, error: Callable[[str], Exception]
) -> None:
    breaker, service = opened(colour, clock)
    clock.now += 31
    service.error = error
    call(colour, breaker)
    assert breaker.state == "half_open"
    service.error = None
    assert call(colour, breaker) == ["served"]
    assert breaker.state == "closed"


class Gate(Service):
    """Whose calls take until they are let go, where they are told to."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.waits = False
        self.waiting = threading.Semaphore(0)
        self.go = threading.Event()

    def __exit__(self, *_: object) -> None:
        self.go.set()

    async def _wait(self, io: Any, request: Any) -> None:
        if self.waits:
            self.waiting.release()
            while not self.go.is_set():
                await io.sleep(0.002)
        await super()._wait(io, request)


def half_open(clock: Clock, *, probes: int = 1) -> tuple[Gate, CircuitBreaker]:
    """A breaker whose next calls try, and the gate at which they wait."""
    gate = Gate(clock)
    breaker = CircuitBreaker(gate, window=2, least=2, probes=probes)
    gate.error = ServerError
    call("sync", breaker, 2)
    gate.error, gate.waits = None, True
    clock.now += 31
    return gate, breaker


def test_only_so_many_try_at_a_time_and_all_must_succeed(clock: Clock) -> None:
    gate, breaker = half_open(clock, probes=3)
    with ThreadPoolExecutor(2) as executor, gate:
        trying = [executor.submit(breaker.rerank, "q", TEXTS) for _ in range(2)]
        for _ in trying:
            assert gate.waiting.acquire(timeout=10)
        gate.waits = False
        assert call("async", breaker, 2) == ["served", "CircuitOpenError"]
        with pytest.raises(CircuitOpenError, match="is being tried again by other calls") as caught:
            breaker.rerank("q", TEXTS)
        assert caught.value.retry_after == 1.0
        assert breaker.state == "half_open"
        gate.go.set()
        assert all(len(each.result(10)) == 2 for each in trying)
    assert breaker.state == "closed"


def test_a_cancelled_try_frees_its_place(clock: Clock) -> None:
    gate, breaker = half_open(clock)

    async def scenario() -> None:
        task = asyncio.create_task(breaker.arerank("q", TEXTS))
        await asyncio.to_thread(gate.waiting.acquire)
        assert call("sync", breaker) == ["CircuitOpenError"]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())
    gate.waits = False
    assert breaker.state == "half_open"
    assert call("sync", breaker) == ["served"]


def test_a_cancelled_call_counts_neither_way(clock: Clock) -> None:
    gate = Gate(clock)
    gate.waits = True
    breaker = CircuitBreaker(gate, window=1, least=1, slow_after=0.001)

    async def scenario() -> None:
        task = asyncio.create_task(breaker.arerank("q", TEXTS))
        await asyncio.to_thread(gate.waiting.acquire)
        clock.now += 60
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())
    assert breaker.state == "closed"


def test_what_began_before_it_opened_says_nothing_about_the_try(clock: Clock) -> None:
    gate = Gate(clock)
    breaker = CircuitBreaker(gate, window=2, least=2, open_seconds=30)
    gate.waits = True
    with ThreadPoolExecutor(1) as executor, gate:
        old = executor.submit(breaker.rerank, "q", TEXTS)
        assert gate.waiting.acquire(timeout=10)
        gate.waits, gate.error = False, ServerError
        call("sync", breaker, 2)
        clock.now += 31
        assert breaker.state == "half_open"
        gate.go.set()
        assert isinstance(old.exception(10), ServerError)
    assert breaker.state == "half_open"
    gate.error = None
    assert call("sync", breaker) == ["served"]


def test_a_forked_child_does_not_wait_for_its_parents_try(clock: Clock) -> None:
    gate, breaker = half_open(clock)

    def in_child() -> None:
        assert call("sync", breaker) == ["served"]
        assert breaker.state == "closed"

    with ThreadPoolExecutor(1) as executor, gate:
        trying = executor.submit(breaker.rerank, "q", TEXTS)
        assert gate.waiting.acquire(timeout=10)
        gate.waits = False
        assert call("sync", breaker) == ["CircuitOpenError"]
        assert not fork(in_child).failure()
        assert breaker.state == "half_open"
        gate.go.set()
        trying.result(10)
    assert breaker.state == "closed"


def test_both_colours_share_the_state(clock: Clock) -> None:
    service = Service(clock)
    service.error = ServerError
    breaker = CircuitBreaker(service, window=4, least=4)
    assert call("sync", breaker, 2) + call("async", breaker, 2) == ["ServerError"] * 4
    assert call("sync", breaker) + call("async", breaker) == ["CircuitOpenError"] * 2


def test_threads_together_open_it_once(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    service = Service(clock)
    service.error = ServerError
    breaker = CircuitBreaker(service, window=10, least=10)
    with ThreadPoolExecutor(8) as executor:
        found = list(executor.map(lambda _: call("sync", breaker)[0], range(100)))
    assert 10 <= found.count("ServerError") <= 17
    assert found.count("ServerError") == len(service.calls)
    assert caplog.messages == ["fake:fake: left alone for 30 s: 10 of the last 10 calls failed"]


def test_its_changes_are_told_in_the_log(colour: str, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    breaker, _ = opened(colour, clock)
    clock.now += 31
    call(colour, breaker, 3)
    assert [(record.levelno, record.message) for record in caplog.records] == [
        (logging.WARNING, "fake:fake: left alone for 30 s: 2 of the last 2 calls failed"),
        (logging.WARNING, "fake:fake: works again"),
    ]


def test_a_fallback_asks_the_next_at_once(colour: str, clock: Clock) -> None:
    breaker, service = opened(colour, clock)
    response = run(colour, Fallback(breaker, Passthrough()), "rerank", "q", TEXTS)
    assert (response.served_by, response.status, service.calls) == ("passthrough", "degraded", [])
    assert response.attempts[0].error.startswith("CircuitOpenError: fake:fake is left alone for another 30 s")


def test_a_failing_service_gets_no_more_requests(colour: str) -> None:
    with recorder(lambda _: Reply(COHERE.error("down"), 503)) as server:
        with CircuitBreaker(Client(COHERE.make(server.url), retry=Retry(attempts=1)), window=5, least=5) as breaker:
            assert call(colour, breaker, 20) == ["ServerError"] * 5 + ["CircuitOpenError"] * 15
        assert len(server.requests) == 5


def test_what_is_asked_for_goes_through_unchanged(colour: str, clock: Clock) -> None:
    service = Service(clock)
    response = run(colour, CircuitBreaker(service), "rerank", "q", TEXTS, top_n=1, timeout=3)
    assert [(result.index, result.document) for result in response] == [(0, "a")]
    assert [(turn.reranker, turn.outcome) for turn in response.attempts] == [("fake:fake", "served")]
    (asked,) = service.calls
    assert (asked.query, asked.texts, asked.top_n, asked.timeout) == ("q", ("a", "b"), 1, 3)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"failure_rate": 0}, "failure_rate must be a number above 0 and at most 1, got 0"),
        ({"slow_rate": 1.1}, "slow_rate must be"),
        ({"slow_after": 0}, "slow_after must be a number of seconds above 0"),
        ({"window": 0}, "window must be a whole number at least 1"),
        (
            {"window": 5},
            "least must be a whole number from 1 to 5, got 10; window=5 calls are looked at: change one of the two",
        ),
        ({"least": 0}, "least must be"),
        ({"open_seconds": -1}, "open_seconds must be"),
        ({"probes": 0}, "probes must be"),
        ({"timeout": 0}, "timeout must be"),
    ],
)
def test_arguments_out_of_range_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidRequestError, match=told):
        CircuitBreaker(FakeReranker(), **options)


def test_it_shows_and_copies_itself_by_its_arguments() -> None:
    breaker = CircuitBreaker(Passthrough(), failure_rate=0.25, slow_after=2)
    assert repr(breaker) == "CircuitBreaker(Passthrough(), failure_rate=0.25, slow_after=2)"
    for copied in (copy.copy(breaker), copy.deepcopy(breaker), pickle.loads(pickle.dumps(breaker))):
        assert repr(copied) == repr(breaker)
        assert copied._circuit is not breaker._circuit


# Against a model


class Model:
    """The same in the plainest words: a list of all that happened since the last change."""

    def __init__(self, rules: _Rules) -> None:
        self.rules = rules
        self.opened_at: float | None = None
        self.happened: list[tuple[str, bool]] = []
        self.inside: set[int] = set()

    def state(self, now: float) -> str:
        if self.opened_at is None:
            return "closed"
        return "open" if now < self.opened_at + self.rules.open_seconds else "half_open"

    def lets_in(self, now: float) -> bool:
        match self.state(now):
            case "closed":
                return True
            case "open":
                return False
            case _:
                return len(self.inside) + len(self.happened) < self.rules.probes

    def change(self, opened_at: float | None) -> None:
        self.opened_at = opened_at
        self.happened, self.inside = [], set()

    def leave(self, who: int, outcome: str | None, is_slow: bool, now: float) -> None:
        if who not in self.inside:
            return
        self.inside.remove(who)
        if outcome is None:
            return
        self.happened.append((outcome, is_slow))
        if self.opened_at is not None:
            if outcome == "failed" or is_slow:
                self.change(now)
            elif len(self.happened) == self.rules.probes:
                self.change(None)
            return
        latest = self.happened[-self.rules.window :]
        share_failed = sum(outcome == "failed" for outcome, _ in latest) / len(latest)
        share_slow = sum(slow for _, slow in latest) / len(latest)
        if len(latest) >= self.rules.least and (share_failed >= self.rules.failure_rate or share_slow >= self.rules.slow_rate):
            self.change(now)


SHARES = st.sampled_from([0.1, 0.25, 1 / 3, 0.5, 0.75, 1.0])


class Machine(RuleBasedStateMachine):
    """Calls that enter and leave in any order, and time that passes."""

    @initialize(
        failure_rate=SHARES,
        slow_rate=SHARES,
        slow_after=st.sampled_from([None, 1.0]),
        window=st.integers(1, 6),
        least=st.integers(1, 6),
        probes=st.integers(1, 3),
    )
    def begin(self, window: int, least: int, **options: Any) -> None:
        self.rules = _Rules(window=window, least=min(window, least), open_seconds=10.0, **options)
        self.clock = Clock()
        self.before = circuit_breaker.time
        circuit_breaker.time = self.clock
        self.circuit, self.model = _Circuit(self.rules), Model(self.rules)
        self.eras: dict[int, int] = {}
        self.count = 0

    def teardown(self) -> None:
        if hasattr(self, "before"):
            circuit_breaker.time = self.before

    @rule()
    def enter(self) -> None:
        self.count += 1
        if self.model.lets_in(self.clock.now):
            self.eras[self.count] = self.circuit.enter("it")
            self.model.inside.add(self.count)
            return
        with pytest.raises(CircuitOpenError) as caught:
            self.circuit.enter("it")
        assert 0 < caught.value.retry_after <= 10.0

    @precondition(lambda self: self.eras)
    @rule(pick=st.integers(0), outcome=st.sampled_from(["served", "served", "failed", "failed", None]), slow=st.booleans())
    def leave(self, pick: int, outcome: Any, slow: bool) -> None:
        self.leave_with(sorted(self.eras)[pick % len(self.eras)], outcome, slow)

    def leave_with(self, who: int, outcome: Any, slow: bool) -> None:
        self.circuit.leave(self.eras.pop(who), outcome, 1.5 if slow else 1.0)
        self.model.leave(who, outcome, slow and self.rules.slow_after is not None, self.clock.now)

    @rule()
    def break_down(self) -> None:
        """The same: enough calls fail."""
        for _ in range(self.rules.least):
            if self.model.lets_in(self.clock.now):
                self.enter()
                self.leave_with(self.count, "failed", slow=False)

    @rule()
    def recover(self) -> None:
        """Rare by chance: all who try succeed."""
        self.clock.now += 11.0
        while self.model.state(self.clock.now) == "half_open" and self.model.lets_in(self.clock.now):
            self.enter()
            self.leave_with(self.count, "served", slow=False)

    @rule(seconds=st.sampled_from([0.5, 4.0, 9.75, 10.0, 11.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @invariant()
    def they_agree(self) -> None:
        if hasattr(self, "model"):
            assert self.circuit.state == self.model.state(self.clock.now)


TestMachine = Machine.TestCase
TestMachine.settings = settings(tries(150), stateful_step_count=40)
