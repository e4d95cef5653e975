"""A slow answer is overtaken; a failure is not hedged; nothing is asked for that the budget does not allow."""

from __future__ import annotations

import asyncio
import copy
import math
import pickle
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from helpers.server import Received, Reply, recorder
from helpers.services import COHERE, VOYAGE
from helpers.ways import run
from rerankkit import (
    BM25,
    APIConnectionError,
    AuthenticationError,
    BadRequestError,
    Client,
    DeadlineExceededError,
    InvalidRequestError,
    RateLimitError,
    RerankError,
    Retry,
    ServerError,
)
from rerankkit._io import IO
from rerankkit.money import Estimate
from rerankkit.resilience.cached import Cached
from rerankkit.resilience.fallback import Fallback
from rerankkit.resilience.hedged import KEPT, LEAST, Hedged, _Budget, _Latencies
from rerankkit.resilience.passthrough import Passthrough
from rerankkit.testing import FakeReranker
from rerankkit.types import RerankRequest, RerankResponse, Usage

TEXTS = ["a", "b"]
AGES = 60.0  # seconds that no test waits


class Priced(FakeReranker):
    """A fake of a name, which says what its calls consume, and how long each takes: the last of *latencies* for good."""

    def __init__(
        self, name: str, *latencies: float, fails: Callable[[str], Exception] | None = None, price: float | None = 1.0
    ) -> None:
        super().__init__()
        self.name = name
        self.latencies = list(latencies or [0.0])
        self.fails = fails
        self.price = price

    @property
    def label(self) -> str:
        return f"{self.name}:x"

    def _estimate(self, request: Any) -> Estimate:
        return Estimate(Usage(requests=1, search_units=1.5), self.price)

    async def _wait(self, io: Any, request: Any) -> None:
        seconds = self.latencies.pop(0) if len(self.latencies) > 1 else self.latencies[0]
        await io.sleep(min(seconds, request.deadline.remaining()))
        if not request.deadline.remaining():
            raise DeadlineExceededError(f"{self.name} is late")
        if self.fails:
            raise self.fails(self.name)

    async def _rerank(self, io: Any, request: Any) -> Any:
        found = await super()._rerank(io, request)
        return RerankResponse(found.results, self.name, "x", Usage(1, search_units=2.0), cost=self.price)


def ranked(colour: str, reranker: Any, **options: Any) -> RerankResponse[str]:
    started = time.monotonic()
    response = run(colour, reranker, "rerank", "q", TEXTS, **options)
    assert time.monotonic() - started < AGES / 2
    return response


def failed(colour: str, reranker: Any, kind: type[Exception], **options: Any) -> Any:
    started = time.monotonic()
    with pytest.raises(kind) as caught:
        run(colour, reranker, "rerank", "q", TEXTS, **options)
    assert time.monotonic() - started < AGES / 2
    return caught.value


def turns(found: Any) -> list[tuple[str, str]]:
    attempts = found.history if isinstance(found, Exception) else found.attempts
    return [(turn.reranker, turn.outcome) for turn in attempts]


# Who wins


def test_a_fast_answer_is_not_hedged(colour: str) -> None:
    first, second = Priced("first"), Priced("second")
    response = ranked(colour, Hedged(first, second, delay=5.0, budget=1.0))
    assert turns(response) == [("first:x", "served")]
    assert (response.usage, response.cost, response.status) == (Usage(1, search_units=2.0), 1.0, "ok")
    assert (len(first.calls), len(second.calls)) == (1, 0)


def test_a_slow_answer_is_overtaken_by_the_second(colour: str) -> None:
    first, second = Priced("first", AGES), Priced("second")
    response = ranked(colour, Hedged(first, second, delay=0.02, budget=1.0))
    assert (response.served_by, response.status) == ("second:x", "ok")
    assert turns(response) == [("first:x", "cancelled"), ("second:x", "served")]
    assert [(len(fake.calls), fake.calls[0].texts) for fake in (first, second)] == [(1, ("a", "b"))] * 2


def test_the_first_may_still_win_against_its_hedge(colour: str) -> None:
    first, second = Priced("first", 0.3), Priced("second", AGES)
    response = ranked(colour, Hedged(first, second, delay=0.02, budget=1.0))
    assert turns(response) == [("first:x", "served"), ("second:x", "cancelled")]
    assert len(second.calls) == 1


def test_without_a_second_the_first_is_asked_again(colour: str) -> None:
    first = Priced("first", AGES, 0.0)
    response = ranked(colour, Hedged(first, delay=0.02, budget=1.0))
    assert turns(response) == [("first:x", "cancelled"), ("first:x", "served")]
    assert len(first.calls) == 2


def test_the_hedge_is_not_begun_before_its_time(colour: str) -> None:
    first, second = Priced("first", AGES), Priced("second")
    response = ranked(colour, Hedged(first, second, delay=0.2, budget=1.0))
    waited, took = (turn.seconds for turn in response.attempts)
    assert 0.2 <= waited < 20
    assert took < waited


def test_any_reranker_may_be_hedged_by_any_other(colour: str) -> None:
    class Foreign:
        """It knows nothing of an `IO`, and cannot be woken."""

        release = threading.Event()

        def rerank(self, query: str, documents: Sequence[Any], **_: Any) -> Any:
            self.release.wait(AGES)
            raise AssertionError("nobody waits for this")

        async def arerank(self, query: str, documents: Sequence[Any], **_: Any) -> Any:
            await asyncio.sleep(AGES)

    foreign = Foreign()
    try:
        response = ranked(colour, Hedged(foreign, BM25(), delay=0.02, budget=1.0))
    finally:
        foreign.release.set()
    assert turns(response) == [("Foreign", "cancelled"), ("local:bm25", "served")]
    assert response.cost is None


# What both cost


def test_the_cancelled_call_counts_by_its_estimate(colour: str) -> None:
    response = ranked(colour, Hedged(Priced("first", AGES), Priced("second", price=0.25), delay=0.02, budget=1.0))
    cancelled, served = response.attempts
    assert (cancelled.usage, cancelled.cost) == (Usage(1, search_units=1.5), 1.0)
    assert (served.usage, served.cost) == (Usage(1, search_units=2.0), 0.25)
    assert (response.usage, response.cost) == (Usage(2, search_units=3.5), 1.25)


@pytest.mark.parametrize("prices", [(None, 1.0), (1.0, None)])
def test_an_unknown_price_makes_the_whole_cost_unknown(colour: str, prices: tuple[float | None, float | None]) -> None:
    pair = Priced("first", AGES, price=prices[0]), Priced("second", price=prices[1])
    response = ranked(colour, Hedged(*pair, delay=0.02, budget=1.0))
    assert response.cost is None
    assert response.usage == Usage(2, search_units=3.5)


def test_a_hedge_that_failed_costs_as_any_failure(colour: str) -> None:
    pair = Priced("first", 0.3), Priced("second", fails=ServerError)
    response = ranked(colour, Hedged(*pair, delay=0.02, budget=1.0))
    assert turns(response) == [("first:x", "served"), ("second:x", "failed")]
    assert (response.usage, response.cost) == (Usage(1, search_units=2.0), 1.0)


def test_what_a_failed_hedge_had_cancelled_in_turn_is_counted(colour: str) -> None:
    inner = Hedged(Priced("inner", AGES), Priced("other", fails=AuthenticationError), delay=0.01, budget=1.0)
    outer = Hedged(Priced("first", 0.3), Fallback(inner, Priced("last", AGES), on=RerankError), delay=0.02, budget=1.0)
    response = ranked(colour, outer)
    assert turns(response)[0] == ("first:x", "served")
    assert response.usage.search_units == 2.0 + 1.5


@pytest.mark.parametrize("error", [InvalidRequestError("it ranks poems only"), ValueError("a tokenizer of somebody's")])
def test_an_estimate_that_cannot_be_made_does_not_cost_the_answer(error: Exception, colour: str) -> None:
    class Picky(Priced):
        def _estimate(self, request: Any) -> Estimate:
            raise error

    response = ranked(colour, Hedged(Picky("first", AGES), Priced("second"), delay=0.02, budget=1.0))
    assert response.served_by == "second:x"
    assert response.cost is None


def test_a_call_is_estimated_without_its_hedge() -> None:
    assert Hedged(Priced("first"), Priced("second")).estimate("q", TEXTS) == Estimate(Usage(1, search_units=1.5), 1.0)


# Failures


@pytest.mark.parametrize("error", [BadRequestError, AuthenticationError, RateLimitError, ServerError])
def test_a_failure_is_raised_and_not_hedged(colour: str, error: type[RerankError]) -> None:
    first, second = Priced("first", fails=error), Priced("second")
    found = failed(colour, Hedged(first, second, delay=0.2, budget=1.0), error)
    assert turns(found) == [("first:x", "failed")]
    assert second.calls == []


def test_no_hedge_is_sent_while_the_first_one_is_refused(colour: str) -> None:
    """On the wire: a 4xx goes to the caller, and nothing to the other service."""
    with (
        recorder(lambda _: Reply(COHERE.error("unprocessable"), 422)) as refusing,
        recorder(VOYAGE.scored(lambda query, text: 1.0)) as idle,
        Hedged(Client(COHERE.make(refusing.url)), Client(VOYAGE.make(idle.url)), delay=1.0, budget=1.0) as hedged,
    ):
        failed(colour, hedged, BadRequestError)
        assert (len(refusing.requests), len(idle.requests)) == (1, 0)


@pytest.mark.parametrize("error", [APIConnectionError, RateLimitError])
def test_once_both_are_asked_an_outage_of_one_waits_for_the_other(colour: str, error: type[RerankError]) -> None:
    response = ranked(colour, Hedged(Priced("first", 0.3, fails=error), Priced("second", 0.4), delay=0.02, budget=1.0))
    assert turns(response) == [("first:x", "failed"), ("second:x", "served")]
    response = ranked(colour, Hedged(Priced("first", 0.4), Priced("second", fails=error), delay=0.02, budget=1.0))
    assert turns(response) == [("first:x", "served"), ("second:x", "failed")]
    assert response.attempts[1].error.startswith(error.__name__)


@pytest.mark.parametrize("error", [AuthenticationError, InvalidRequestError])
def test_a_wrong_key_or_request_of_either_ends_the_call_at_once(colour: str, error: type[RerankError]) -> None:
    pair = Priced("first", AGES), Priced("second", fails=error)
    found = failed(colour, Hedged(*pair, delay=0.02, budget=1.0), error)
    assert turns(found) == [("first:x", "cancelled"), ("second:x", "failed")]
    assert found.history[0].cost == 1.0
    pair = Priced("first", 0.3, fails=error), Priced("second", AGES)
    assert turns(failed(colour, Hedged(*pair, delay=0.02, budget=1.0), error)) == [
        ("first:x", "failed"),
        ("second:x", "cancelled"),
    ]


@pytest.mark.parametrize("seconds", [(0.3, 0.4), (0.4, 0.1)])
def test_when_both_fail_the_firsts_error_is_raised_and_tells_of_both(colour: str, seconds: tuple[float, float]) -> None:
    pair = Priced("first", seconds[0], fails=ServerError), Priced("second", seconds[1], fails=RateLimitError)
    found = failed(colour, Hedged(*pair, delay=0.02, budget=1.0), ServerError)
    assert turns(found) == [("first:x", "failed"), ("second:x", "failed")]
    assert found.__notes__ == ["Meanwhile second:x failed: RateLimitError: second"]


def test_a_bug_is_raised_as_it_is(colour: str) -> None:
    first = FakeReranker()
    first.fail(ZeroDivisionError("a bug"))
    failed(colour, Hedged(first, FakeReranker(), delay=5.0, budget=1.0), ZeroDivisionError)


# Time


def test_both_share_the_callers_deadline(colour: str) -> None:
    pair = Priced("first", AGES), Priced("second", AGES)
    found = failed(colour, Hedged(*pair, delay=0.02, budget=1.0), DeadlineExceededError, timeout=0.3)
    assert turns(found) == [("first:x", "failed"), ("second:x", "failed")]
    assert [fake.calls[0].timeout for fake in pair] == [0.3, 0.3]


def test_without_a_hedge_the_deadline_ends_the_call_all_the_same(colour: str) -> None:
    second = Priced("second")
    failed(colour, Hedged(Priced("first", AGES), second, delay=AGES), DeadlineExceededError, timeout=0.1)
    assert second.calls == []


def test_it_waits_as_long_as_the_more_patient_of_the_two() -> None:
    pair = FakeReranker(timeout=3), FakeReranker(timeout=7)
    assert Hedged(*pair).timeout == 7
    assert Hedged(pair[0]).timeout == 3
    assert Hedged(*pair, timeout=1).timeout == 1


def test_the_callers_cancellation_ends_both() -> None:
    ended: list[str] = []

    class Waits(Priced):
        async def _wait(self, io: Any, request: Any) -> None:
            try:
                await io.sleep(AGES)
            finally:
                ended.append(self.name)

    async def scenario() -> None:
        hedged = Hedged(Waits("first"), Waits("second"), delay=0.01, budget=1.0)
        task = asyncio.create_task(hedged.arerank("q", TEXTS))
        while not hedged.rerankers[1].calls:  # noqa: ASYNC110 -- it is called in a thread or in the loop, it knows not which
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert sorted(ended) == ["first", "second"]

    asyncio.run(scenario())


def test_a_loser_has_ended_when_an_async_call_returns() -> None:
    async def scenario() -> None:
        await Hedged(Priced("first", AGES), Priced("second"), delay=0.01, budget=1.0).arerank("q", TEXTS)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(scenario())


def test_losers_in_threads_end_soon_after() -> None:
    hedged = Hedged(Priced("first", AGES), Priced("second"), delay=0.01, budget=1.0)
    for _ in range(5):
        hedged.rerank("q", TEXTS)
    ends = time.monotonic() + 10
    while any(thread.name.startswith("rerankkit_") for thread in threading.enumerate()):
        assert time.monotonic() < ends
        time.sleep(0.01)


# The budget


@pytest.mark.parametrize(("share", "calls"), [(0.1, 1_000), (0.25, 100), (0.3, 77), (1.0, 10)])
def test_never_more_than_the_share_is_hedged(share: float, calls: int) -> None:
    budget = _Budget(share)
    hedges = 0
    for count in range(1, calls + 1):
        budget.add()
        hedges += budget.take()
        assert hedges <= share * count + 1e-6
    assert hedges == int(share * calls + 1e-6)


@pytest.mark.parametrize(("share", "hedges"), [(0.1, 10), (0.5, 10), (1.0, 1_000)])
def test_quiet_times_save_up_a_few_hedges(share: float, hedges: int) -> None:
    budget = _Budget(share)
    for _ in range(1_000):
        budget.add()
    assert sum(budget.take() for _ in range(1_000)) == hedges


def test_of_ten_slow_calls_one_is_hedged(colour: str) -> None:
    first, second = Priced("first", 0.1), Priced("second")
    hedged = Hedged(first, second, delay=0.01)
    served = [ranked(colour, hedged).served_by for _ in range(10)]
    assert (served, len(second.calls)) == (["first:x"] * 9 + ["second:x"], 1)


def test_who_is_refused_asks_again(colour: str) -> None:
    """Other calls bring tokens meanwhile; the slowest need them most."""
    first, second = Priced("first", AGES, 0.0), Priced("second")
    hedged = Hedged(first, second, delay=0.02)

    def others() -> None:
        while not first.calls:
            time.sleep(0.005)
        time.sleep(0.1)
        for _ in range(9):
            hedged.rerank("q", TEXTS)

    thread = threading.Thread(target=others)
    thread.start()
    response = ranked(colour, hedged)
    thread.join()
    assert turns(response) == [("first:x", "cancelled"), ("second:x", "served")]
    assert response.attempts[0].seconds > 0.1


def test_a_refused_call_asks_ever_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(_Budget, "take", lambda self: asked.append(1) and False)
    Hedged(Priced("first", 0.5), delay=0.001).rerank("q", TEXTS)
    assert 5 <= len(asked) <= 17  # 0.001 * 1.5 ** 16 is 0.66


def test_both_colours_share_the_budget_and_what_is_known() -> None:
    hedged = Hedged(Priced("first", 0.1), Priced("second"), delay=0.01)
    for _ in range(5):
        assert hedged.rerank("q", TEXTS).served_by == "first:x"
    assert [asyncio.run(hedged.arerank("q", TEXTS)).served_by for _ in range(5)] == ["first:x"] * 4 + ["second:x"]
    assert len(hedged._latencies._seconds) == 10


# What is slow


def learned(percentile: float, seconds: Sequence[float]) -> float | None:
    latencies = _Latencies(percentile)
    for each in seconds:
        latencies.add(each)
    return latencies.slow()


def fast(count: int) -> list[float]:
    """Answers of 20 to 25 ms, evenly, in no order."""
    return [0.020 + 0.005 * (number * 37 % count) / count for number in range(count)]


def test_what_is_slow_is_not_known_before_twenty_answers() -> None:
    assert learned(0.95, fast(LEAST - 1)) is None
    assert learned(0.95, fast(LEAST)) is not None


@pytest.mark.parametrize(
    ("percentile", "seconds"), [(0.5, 0.0225), (0.9, 0.0245), (0.95, 0.02475), (0.99, 0.02495), (1, 0.025)]
)
def test_what_is_slow_is_the_percentile(percentile: float, seconds: float) -> None:
    assert learned(percentile, fast(KEPT)) == pytest.approx(seconds, abs=0.0001)


@pytest.mark.parametrize("share", [0.01, 0.04, 0.05, 0.06, 0.1, 0.2])
def test_slow_answers_do_not_make_slowness_normal(share: float) -> None:
    """A 95th percentile of 1 s would hedge nothing; what lies beyond all fast answers by far hedges all slow ones."""
    slow = int(KEPT * share)
    assert 0.024 < learned(0.95, [*fast(KEPT - slow), *[1.0] * slow]) <= 0.05


def test_answers_that_hardly_vary_are_slow_at_twice_the_median() -> None:
    """A little above all of them a second answer would come later than the first."""
    assert learned(0.95, [*[0.02] * 180, *[1.0] * 20]) == 0.04


def test_no_time_at_all_is_never_slow() -> None:
    """A clock that stands still would have a refused hedge ask again without a pause."""
    assert learned(0.95, [0.0] * KEPT) == 0.001


def test_answers_that_vary_widely_keep_their_percentile() -> None:
    """Exponential: nothing of it is an outlier."""
    seconds = [-0.1 * math.log(1 - (number + 0.5) / KEPT) for number in range(KEPT)]
    assert learned(0.95, seconds) == pytest.approx(-0.1 * math.log(0.05), rel=0.05)


def test_old_answers_are_forgotten() -> None:
    assert learned(0.95, [*[1.0] * KEPT, *fast(KEPT)]) < 0.05
    assert learned(0.95, [*fast(KEPT), *[1.0] * KEPT]) == 1.0


def test_a_call_is_hedged_by_what_the_answers_before_it_took(colour: str) -> None:
    first, second = Priced("first", *[0.001] * (LEAST + 5), AGES), Priced("second")
    hedged = Hedged(first, second, budget=1.0)
    served = [ranked(colour, hedged).served_by for _ in range(LEAST + 6)]
    assert set(served[:LEAST]) == {"first:x"}
    assert served[-1] == "second:x"


def test_a_call_that_began_before_anything_was_known_is_hedged_once_it_is() -> None:
    first, second = Priced("first", AGES, 0.001), Priced("second")
    hedged = Hedged(first, second)
    with ThreadPoolExecutor(1) as executor:
        slow = executor.submit(hedged.rerank, "q", TEXTS)
        while not first.calls:
            time.sleep(0.001)
        for _ in range(LEAST + 1):
            hedged.rerank("q", TEXTS)
        assert slow.result(AGES / 2).served_by == "second:x"


def test_an_answer_that_was_not_waited_for_counts_with_the_time_it_was(colour: str) -> None:
    hedged = Hedged(Priced("first", AGES), Priced("second"), delay=0.1, budget=1.0)
    ranked(colour, hedged)
    (seconds,) = hedged._latencies._seconds
    assert 0.1 <= seconds < AGES / 2


def test_failures_are_no_answers(colour: str) -> None:
    hedged = Hedged(Priced("first", fails=ServerError), delay=1.0)
    failed(colour, hedged, ServerError)
    assert not hedged._latencies._seconds
    hedged = Hedged(Priced("first", 0.3, fails=ServerError), Priced("second", 0.4), delay=0.01, budget=1.0)
    ranked(colour, hedged)
    assert not hedged._latencies._seconds


# As any wrapper


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"delay": 0}, r"delay must be a number of seconds above 0 .* got 0"),
        ({"delay": "1"}, "delay must be a number of seconds"),
        ({"percentile": 95}, "percentile must be a number above 0 and at most 1, got 95"),
        ({"percentile": 0}, "percentile must be"),
        ({"budget": 0}, "budget must be a number above 0 and at most 1, got 0"),
        ({"budget": 1.5}, "budget must be"),
        ({"budget": float("nan")}, "budget must be"),
        ({"timeout": -1}, "timeout must be"),
        ({"second": "cohere"}, "expected a reranker .* got str"),
    ],
)
def test_arguments_out_of_range_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidRequestError, match=told):
        Hedged(FakeReranker(), **options)


def test_it_shows_and_copies_itself_by_its_arguments() -> None:
    hedged = Hedged(Passthrough(), BM25(), delay=0.5, budget=0.2)
    assert repr(hedged) == "Hedged(Passthrough(), BM25(), delay=0.5, budget=0.2)"
    for copied in (copy.copy(hedged), copy.deepcopy(hedged), pickle.loads(pickle.dumps(hedged))):
        assert repr(copied) == repr(hedged)
        assert copied._budget is not hedged._budget
    assert hedged.label == "passthrough"


def test_closing_it_closes_both() -> None:
    pair = [Client(COHERE.make("http://127.0.0.1:1")), Client(VOYAGE.make("http://127.0.0.1:1"))]
    Hedged(*pair).close()
    for client in pair:
        with pytest.raises(InvalidRequestError, match="closed"):
            client.rerank("q", TEXTS)


# On the wire


def test_slow_services_are_overtaken_and_every_request_is_counted(colour: str) -> None:
    """Of Cohere's answers each fifth does not come; nothing is retried, and connections serve again."""
    held = threading.Event()
    count = 0

    def cohere(request: Received) -> Reply:
        nonlocal count
        count += 1
        if count % 5 == 0:
            held.wait(AGES)
        return COHERE.scored(lambda query, text: float(text))(request)

    texts = ["1", "3", "2"]
    with recorder(cohere) as slow, recorder(VOYAGE.scored(lambda query, text: float(text))) as other:
        retry = Retry(attempts=3, base_delay=0.0, budget=4)
        first, second = Client(COHERE.make(slow.url), retry=retry), Client(VOYAGE.make(other.url), retry=retry)
        with Hedged(first, second, delay=0.3, budget=0.2) as hedged:
            served = [run(colour, hedged, "rerank", "q", texts) for _ in range(20)]
            held.set()
        assert [response.provider for response in served] == [*["cohere"] * 4, "voyage"] * 4
        assert {tuple(response.documents) for response in served} == {("3", "2", "1")}
        assert (len(slow.requests), len(other.requests)) == (20, 4)
        assert first._policy.budget._left == 4
        if colour == "sync":
            assert slow.connections == 4  # a new one after each that was given up, but for the last


def concurrently(colour: str, call: Callable[[], Any], acall: Callable[[], Any], count: int) -> list[Any]:
    """*count* calls, 10 at a time."""
    if colour == "sync":
        with ThreadPoolExecutor(10) as executor:
            return list(executor.map(lambda _: call(), range(count)))

    async def all_calls() -> list[Any]:
        slots = asyncio.Semaphore(10)

        async def one() -> Any:
            async with slots:
                return await acall()

        return await asyncio.gather(*(one() for _ in range(count)))

    return asyncio.run(all_calls())


@pytest.mark.parametrize("options", [{"delay": 0.5}, {}], ids=["fixed", "percentile"])
def test_many_at_a_time_send_at_most_a_tenth_more(colour: str, options: dict[str, Any]) -> None:
    """Six answers take seconds, all others milliseconds."""
    lock = threading.Lock()
    slow: list[str] = []
    count = 0

    class Moody(FakeReranker):
        async def _wait(self, io: Any, request: Any) -> None:
            nonlocal count
            with lock:
                count += 1
                is_slow = count in range(60, 180, 20)
                slow.extend([request.query] * is_slow)
            await io.sleep(3.0 if is_slow else 0.005)

    first, second = Moody(), Priced("second", 0.005)
    hedged = Hedged(first, second, **options)
    names = iter(range(200))
    call, acall = (partial(method, documents=TEXTS) for method in (hedged.rerank, hedged.arerank))
    responses = concurrently(colour, lambda: call(f"q{next(names)}"), lambda: acall(f"q{next(names)}"), 200)
    hedges = sum(len(response.attempts) == 2 for response in responses)
    overtaken = {fake.query for fake in second.calls} & set(slow)
    assert (len(first.calls), len(second.calls)) == (200, hedges)
    assert sum(response.usage.requests for response in responses) == 200 + sum(
        turn.usage.requests for response in responses for turn in response.attempts if turn.outcome == "cancelled"
    )
    if options:
        assert (len(second.calls), len(overtaken)) == (6, 6)
    else:
        assert len(overtaken) >= 3
        assert len(second.calls) <= 20


def test_a_hedge_through_a_cache_does_not_wait_for_the_call_that_it_is_to_overtake(colour: str) -> None:
    class Slow(FakeReranker):
        """Its first call hangs."""

        async def _wait(self, io: IO, request: RerankRequest[Any]) -> None:
            if len(self.calls) == 1:
                await io.sleep(30.0)

    slow = Slow({"a": 1.0})
    cached = Cached(slow)
    started = time.monotonic()
    response = run(colour, Hedged(cached, delay=0.05, budget=1.0), "rerank", "q", ["a"])
    assert time.monotonic() - started < 10
    assert len(slow.calls) == 2
    assert (response.status, [turn.outcome for turn in response.attempts]) == ("ok", ["cancelled", "served"])
    assert run(colour, cached, "rerank", "q", ["a"]).cache.hits == 1
