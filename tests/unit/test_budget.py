"""A limit in dollars is kept before anything is sent, also by calls at the same time, and by whatever ends a call."""

from __future__ import annotations

import asyncio
import pickle
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.processes import fork
from helpers.server import Received, Recorder, Reply, raw_server, recorder
from helpers.services import COHERE, KENDRA, PINECONE
from helpers.ways import run
from rerankkit import Client, InvalidRequestError, Price, RateLimitError, RerankError, Retry
from rerankkit.errors import (
    APIConnectionError,
    AuthenticationError,
    BudgetExceededError,
    DeadlineExceededError,
    InvalidResponseError,
    ServerError,
)
from rerankkit.money import Estimate
from rerankkit.reranker import BaseReranker
from rerankkit.resilience import Fallback, Passthrough, budget
from rerankkit.resilience.budget import Budget
from rerankkit.testing import FakeReranker
from rerankkit.types import RerankResponse

ONE = 0.002  # dollars, of a search unit
ONCE = Retry(attempts=1)


def billed(units: float | None, count: int = 1) -> Reply:
    meta = {} if units is None else {"meta": {"billed_units": {"search_units": units}}}
    return Reply(COHERE.answer([(index, 0.5) for index in range(count)]) | meta)


def one(_: Received) -> Reply:
    return billed(1)


def client(server: Recorder, **options: Any) -> Client:
    return Client(COHERE.make(server.url), retry=ONCE, **options)


# Limits


def test_calls_go_through_until_the_limit_and_nothing_is_sent_beyond(colour: str) -> None:
    with recorder(one) as server, Budget(client(server), per_run=5 * ONE) as reranker:
        for number in range(5):
            assert reranker.spent == pytest.approx(number * ONE)
            assert run(colour, reranker, "rerank", "q", ["a"]).cost == ONE
        with pytest.raises(BudgetExceededError) as caught:
            run(colour, reranker, "rerank", "q", ["a"])
    assert str(caught.value) == (
        "a call of cohere:rerank-v3.5 may cost $0.002, $0.01 are spent or reserved, and per_run is $0.01: raise per_run"
    )
    assert len(server.requests) == 5
    assert reranker.spent == pytest.approx(0.01)


def test_a_call_that_is_too_dear_by_itself_is_refused_and_spends_nothing(colour: str) -> None:
    with recorder(one) as server, Budget(client(server), per_call=2 * ONE, per_run=100.0) as reranker:
        with pytest.raises(BudgetExceededError) as caught:
            run(colour, reranker, "rerank", "q", ["a"] * 201)
        assert run(colour, reranker, "rerank", "q", ["a"]).cost == ONE
    assert str(caught.value) == (
        "a call of cohere:rerank-v3.5 may cost $0.006, and per_call is $0.004: "
        "pass fewer or shorter documents, or raise per_call"
    )
    assert reranker.spent == ONE
    assert len(server.requests) == 1


def test_each_day_has_its_own_limit_and_the_run_has_one_for_all(colour: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "today", lambda: date(2026, 11, 20))
    with recorder(one) as server, Budget(client(server), per_day=2 * ONE, per_run=3 * ONE) as reranker:
        for _ in range(2):
            run(colour, reranker, "rerank", "q", ["a"])
        with pytest.raises(BudgetExceededError) as of_the_day:
            run(colour, reranker, "rerank", "q", ["a"])
        monkeypatch.setattr(budget, "today", lambda: date(2026, 11, 21))
        run(colour, reranker, "rerank", "q", ["a"])
        with pytest.raises(BudgetExceededError, match="raise per_run"):
            run(colour, reranker, "rerank", "q", ["a"])
    assert str(of_the_day.value).endswith(
        "$0.004 are spent or reserved today, and per_day is $0.004: "
        "wait for the next day, which begins at 00:00 UTC, or raise per_day"
    )
    assert len(server.requests) == 3


def test_a_call_over_midnight_counts_for_the_day_on_which_it_began(colour: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "today", lambda: date(2026, 11, 20))

    def late(_: Received) -> Reply:
        monkeypatch.setattr(budget, "today", lambda: date(2026, 11, 21))
        return billed(1)

    with recorder(late) as server, Budget(client(server), per_day=ONE) as reranker:
        run(colour, reranker, "rerank", "q", ["a"])
        run(colour, reranker, "rerank", "q", ["a"])
        with pytest.raises(BudgetExceededError):
            run(colour, reranker, "rerank", "q", ["a"])
    assert reranker.spent == 2 * ONE


def test_the_days_are_those_of_utc_wherever_the_clock_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    before = datetime.now(UTC)
    with monkeypatch.context() as there:
        there.setenv("TZ", "far-14" if before.hour >= 12 else "far+14")  # where it is another day already, or still
        time.tzset()
        assert datetime.now().date() != before.date()  # noqa: DTZ005 -- what the clock there says
        found = budget.today()
    time.tzset()
    assert found in (before.date(), datetime.now(UTC).date())


@pytest.mark.parametrize("units", [1.0, 3.0, 0.0])
def test_the_real_cost_takes_the_place_of_the_estimate(colour: str, units: float) -> None:
    with recorder(lambda _: billed(units)) as server, Budget(client(server), per_run=1.0) as reranker:
        run(colour, reranker, "rerank", "q", ["a"])
    assert reranker.spent == units * ONE


def test_an_estimate_stays_where_the_real_cost_is_unknown(colour: str) -> None:
    with recorder(lambda _: billed(None, 101)) as server, Budget(client(server), per_run=1.0) as reranker:
        assert run(colour, reranker, "rerank", "q", ["a"] * 101).cost is None
    assert reranker.spent == 2 * ONE


def test_what_costs_nothing_passes_when_all_is_spent(colour: str) -> None:
    with recorder(lambda _: billed(9)) as server, Budget(client(server), per_run=ONE) as reranker:
        run(colour, reranker, "rerank", "q", ["a"])
        assert run(colour, reranker, "rerank", "q", []).cost == 0.0
        assert run(colour, reranker, "rerank", "q", [" "]).cost == 0.0
    assert run(colour, Budget(Passthrough(), per_run=ONE), "rerank", "q", ["a"]).status == "degraded"
    assert len(server.requests) == 1


@given(st.lists(st.floats(0.0001, 1.0), min_size=1, max_size=30), st.floats(0.001, 5.0))
def test_the_limit_is_never_exceeded_by_estimates_that_are_right(costs: list[float], limit: float) -> None:
    reranker = Budget(Priced(costs), per_run=limit)
    for _ in costs:
        with suppress(BudgetExceededError):
            reranker.rerank("q", ["a"])
    assert reranker.spent <= limit + 1e-6


class Priced(BaseReranker):
    """Costs what it said, call by call."""

    def __init__(self, costs: list[float]) -> None:
        self.costs = iter(costs)
        self.next = 0.0

    def _estimate(self, request: Any) -> Estimate:
        self.next = next(self.costs)
        return Estimate(cost=self.next)

    async def _rerank(self, io: Any, request: Any) -> RerankResponse[Any]:
        return RerankResponse((), "priced", cost=self.next)


# Calls at the same time


def test_threads_never_spend_more_than_the_limit_together() -> None:
    with recorder(one) as server, Budget(client(server), per_run=10 * ONE) as reranker:

        def work(_: int) -> bool:
            try:
                reranker.rerank("q", ["a"])
            except BudgetExceededError:
                return False
            return True

        with ThreadPoolExecutor(8) as executor:
            outcomes = list(executor.map(work, range(30)))
    assert (sum(outcomes), len(server.requests)) == (10, 10)
    assert reranker.spent == pytest.approx(10 * ONE)


def test_tasks_never_spend_more_than_the_limit_together() -> None:
    async def together(reranker: Budget) -> list[Any]:
        calls = (reranker.arerank("q", ["a"]) for _ in range(30))
        return await asyncio.gather(*calls, return_exceptions=True)

    with recorder(one) as server, Budget(client(server), per_run=10 * ONE) as reranker:
        outcomes = asyncio.run(together(reranker))
    assert sum(isinstance(outcome, BudgetExceededError) for outcome in outcomes) == 20
    assert len(server.requests) == 10


# What became of a call


def outcome(colour: str, answer: Callable[[Received], Reply], documents: int = 1) -> tuple[float, RerankError]:
    """What was spent on a call that failed, in units, and how it failed."""
    with recorder(answer) as server, Budget(client(server), per_run=1.0) as reranker:
        with pytest.raises(RerankError) as caught:
            run(colour, reranker, "rerank", "q", ["a"] * documents, timeout=20.0)
    return round(reranker.spent / ONE, 6), caught.value


@pytest.mark.parametrize(("status", "error"), [(429, RateLimitError), (503, ServerError), (401, AuthenticationError)])
def test_what_a_refused_call_reserved_is_given_back(colour: str, status: int, error: type[RerankError]) -> None:
    spent, failure = outcome(colour, lambda _: Reply(COHERE.error("no"), status))
    assert isinstance(failure, error)
    assert spent == 0


def test_a_refused_request_of_several_keeps_what_was_reserved(colour: str) -> None:
    """The others may have been ranked."""
    assert outcome(colour, lambda _: Reply(COHERE.error("no"), 503), documents=1_001)[0] == 11


def test_an_answer_that_cannot_be_used_is_paid_all_the_same(colour: str) -> None:
    spent, failure = outcome(colour, lambda _: Reply({"results": [{"index": 7, "relevance_score": 0.5}]}))
    assert isinstance(failure, InvalidResponseError)
    assert spent == 1


def test_a_call_that_broke_off_may_be_billed_and_one_without_a_connection_is_not(colour: str) -> None:
    def cut(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{")

    with raw_server(cut) as url:
        reranker = Budget(Client(COHERE.make(url), retry=ONCE), per_run=1.0)
        with pytest.raises(APIConnectionError) as caught:
            run(colour, reranker, "rerank", "q", ["a"])
        assert (caught.value.sent, reranker.spent) == (True, ONE)
    other = Budget(Client(COHERE.make("http://127.0.0.1:1"), retry=ONCE), per_run=1.0)
    with pytest.raises(APIConnectionError) as refused:
        run(colour, other, "rerank", "q", ["a"])
    assert (refused.value.sent, other.spent) == (False, 0.0)


def test_a_call_that_ran_out_of_time_may_be_billed(colour: str) -> None:
    go_on = threading.Event()

    def hang(_: Received) -> Reply:
        go_on.wait(30)
        return billed(1)

    with recorder(hang) as server, Budget(client(server), per_run=1.0) as reranker:
        with pytest.raises(DeadlineExceededError):
            run(colour, reranker, "rerank", "q", ["a"], timeout=0.2)
        go_on.set()
    assert reranker.spent == ONE


def test_a_cancelled_call_is_billed() -> None:
    arrived, go_on = threading.Event(), threading.Event()

    def hang(_: Received) -> Reply:
        arrived.set()
        go_on.wait(30)
        return billed(1)

    async def cancelled(reranker: Budget) -> None:
        task = asyncio.create_task(reranker.arerank("q", ["a"]))
        await asyncio.to_thread(arrived.wait, 30)
        assert reranker.spent == ONE, "it is reserved while the call is under way"
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    with recorder(hang) as server, Budget(client(server), per_run=1.0) as reranker:
        asyncio.run(cancelled(reranker))
        go_on.set()
    assert reranker.spent == ONE


def test_a_call_that_cannot_be_right_reserves_nothing(colour: str) -> None:
    with recorder(one) as server, Budget(client(server), per_run=1.0) as reranker:
        for query, documents in ((" ", ["a"]), ("q" * 99_999, ["a"]), ("q", [{"x": 1}])):
            with pytest.raises(InvalidRequestError):
                run(colour, reranker, "rerank", query, documents)
    assert (reranker.spent, server.requests) == (0.0, [])


# What cannot be counted, and what else there is around


def test_an_unknown_price_is_never_let_through_as_zero(colour: str) -> None:
    with recorder(one) as server:
        unpriced = Client(COHERE.make(server.url, model="mine"))
        with pytest.raises(InvalidRequestError) as caught:
            run(colour, Budget(unpriced, per_run=1.0), "rerank", "q", ["a"])
        assert server.requests == []
        priced = Client(COHERE.make(server.url, model="mine"), prices={"mine": Price(0.5, 1, "request")})
        assert run(colour, Budget(priced, per_run=1.0), "rerank", "q", ["a"]).cost == 0.5
    assert str(caught.value) == (
        "Budget cannot keep a limit for cohere:mine: the price is not known. Give it a price of yours, which may be for each "
        "request: Client(provider, prices={'mine': Price(0.002, 1, 'request')})"
    )


@pytest.mark.parametrize(
    ("reranker", "why"),
    [
        (Client(KENDRA.make("http://127.0.0.1:9")), "the price is $0.14 per hour of a plan, used or not"),
        (FakeReranker(), "for fake:fake: it makes no estimate, as a Client does"),
    ],
    ids=["kendra", "fake"],
)
def test_it_says_why_it_cannot_keep_a_limit(reranker: BaseReranker, why: str, colour: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        run(colour, Budget(reranker, per_run=1.0), "rerank", "q", ["a"])
    assert why in str(caught.value)


def test_a_fallback_stands_in_when_the_money_is_spent(colour: str) -> None:
    with recorder(one) as server:
        chain = Fallback(Budget(client(server), per_run=ONE), Passthrough())
        first, second = (run(colour, chain, "rerank", "q", ["a"]) for _ in range(2))
    assert [first.status, second.status] == ["ok", "degraded"]
    assert [(turn.reranker, turn.outcome) for turn in second.attempts] == [
        ("cohere:rerank-v3.5", "failed"),
        ("passthrough", "served"),
    ]
    assert second.attempts[0].error.startswith("BudgetExceededError: a call of cohere:rerank-v3.5 may cost $0.002")


def test_answers_are_those_of_the_client(colour: str) -> None:
    answer = COHERE.answer([(2, 0.9), (0, 0.5), (1, 0.5)])
    with recorder(lambda _: Reply(answer)) as server, client(server) as plain, Budget(plain, per_call=1.0) as reranker:
        documents = [{"text": "a"}, "b", "c"]
        response = run(colour, reranker, "rerank", "q", documents)
        assert response.results == run(colour, plain, "rerank", "q", documents).results
    assert [result.index for result in response] == [2, 0, 1]
    assert response.results[1].document is documents[0]
    assert [turn.reranker for turn in response.attempts] == ["cohere:rerank-v3.5"]
    assert reranker.estimate("q", documents) == plain.estimate("q", documents)


@pytest.mark.parametrize("limits", [{}, {"per_run": 0}, {"per_day": -1.0}, {"per_call": float("nan")}, {"per_run": "5"}])
def test_a_limit_is_an_amount(limits: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError, match="in dollars: per_call=, per_run= or per_day=|amount of dollars above 0"):
        Budget(Passthrough(), **limits)


def test_a_copy_has_a_limit_of_its_own(colour: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PINECONE_API_KEY", "k" * 9)
    given = Budget(Client(PINECONE.make(None, api_key=None)), per_run=5, per_day=2.5, timeout=9.0)
    given._reserve(1.0)
    copied = pickle.loads(pickle.dumps(given))
    assert (given.spent, copied.spent) == (1.0, 0.0)
    assert copied._limits == given._limits == {"per_run": 5.0, "per_day": 2.5}
    assert copied.timeout == 9.0


def test_a_forked_child_goes_on_from_what_was_settled() -> None:
    """What its parent reserved for calls under way, its parent settles."""
    reranker = Budget(Priced([1.0]), per_run=3.0)
    reranker.rerank("q", ["a"])
    reranker._reserve(1.5)

    def in_the_child() -> None:
        assert reranker.spent == 1.0
        reranker._reserve(2.0)
        with pytest.raises(BudgetExceededError):
            reranker._reserve(0.1)

    with reranker._lock:
        child = fork(in_the_child)
    assert child.failure() == ""
    assert reranker.spent == 2.5
