"""What failed turns sent and cost, as wrappers count it: nothing that was not sent, and all that may be billed."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from helpers.caches import Scorer, in_threads, waiting
from helpers.patience import happens, until
from helpers.server import Received, Reply, recorder
from helpers.services import COHERE
from helpers.ways import run
from rerankkit import Client, RerankRequest, RerankResponse, Retry
from rerankkit._io import IO
from rerankkit.calibration import Threshold
from rerankkit.errors import (
    APIConnectionError,
    AuthenticationError,
    DeadlineExceededError,
    InvalidRequestError,
    RateLimitError,
    RerankError,
    ServerError,
)
from rerankkit.reranker import BaseReranker
from rerankkit.resilience import (
    Budget,
    Cached,
    CircuitBreaker,
    ConcurrencyLimited,
    Ensemble,
    Fallback,
    MinScore,
    Passthrough,
    RateLimited,
)
from rerankkit.resilience.wrapper import Wrapper
from rerankkit.testing import FakeReranker
from rerankkit.types import Attempt, Usage

ONE = 0.002  # dollars, for a document
SLOW = 0.001  # requests a second: one call passes
MANY = 5


def failing(*errors: Exception) -> Scorer:
    service = Scorer(price=ONE)
    for error in errors:
        service.fail(error)
    return service


def failure(colour: str, reranker: BaseReranker, documents: int = 1, **options: Any) -> RerankError:
    with pytest.raises(RerankError) as caught:
        run(colour, reranker, "rerank", "q", ["a"] * documents, **options)
    return caught.value


@contextmanager
def busy(limited: ConcurrencyLimited, service: Scorer) -> Iterator[ConcurrencyLimited]:
    """Meanwhile its only place is taken."""
    service.gate.clear()
    thread = threading.Thread(target=lambda: limited.rerank("q", ["another"]))
    thread.start()
    try:
        until(lambda: len(service.calls) == 1)
        yield limited
    finally:
        service.gate.set()
        thread.join()


# Refusals of this program's own


def test_a_budget_gives_back_what_a_limit_refused(colour: str) -> None:
    budget = Budget(RateLimited(Scorer(price=ONE), requests_per_second=SLOW), per_run=1.0)
    run(colour, budget, "rerank", "q", ["a"])
    assert failure(colour, budget, timeout=0.5).history[0].cost == 0.0
    assert budget.spent == ONE


def test_a_budget_gives_back_what_found_no_place_in_time(colour: str) -> None:
    service = Scorer(price=ONE)
    with busy(ConcurrencyLimited(service, 1), service) as limited:
        budget = Budget(limited, per_run=1.0)
        error = failure(colour, budget, timeout=0.05)
        assert isinstance(error, DeadlineExceededError)
        assert not error.sent
        assert budget.spent == 0.0


def test_a_breaker_does_not_open_because_of_a_limit(colour: str) -> None:
    breaker = CircuitBreaker(RateLimited(Scorer(), requests_per_second=SLOW), least=1, window=1)
    run(colour, breaker, "rerank", "q", ["a"])
    assert isinstance(failure(colour, breaker, timeout=0.5), RateLimitError)
    assert breaker.state == "closed"


def test_a_breaker_does_not_open_because_all_places_are_taken(colour: str) -> None:
    service = Scorer()
    with busy(ConcurrencyLimited(service, 1), service) as limited:
        breaker = CircuitBreaker(limited, least=1, window=1)
        failure(colour, breaker, timeout=0.05)
        assert breaker.state == "closed"


def test_who_waited_for_a_call_that_a_limit_refused_asks_itself(colour: str) -> None:
    """Its time was too short for the limit, which need not be true of the other's."""
    refused = RateLimitError("nothing was sent: this program's own limit")
    refused.attempts = 0
    service = failing(refused)
    cached = Cached(service)
    service.gate.clear()
    threads, calls = in_threads(2, lambda: run(colour, cached, "rerank", "q", ["a"]))
    until(lambda: waiting(cached) == 1)
    service.gate.set()
    failures = [call.exception() for call in calls]
    threads.shutdown()
    assert [type(error) for error in failures if error] == [RateLimitError]


# Failures that others share


def shared(colour: str, wrap: Callable[[Cached], BaseReranker], error: Exception) -> tuple[BaseReranker, list[RerankError]]:
    """What became of equal calls at once, of which one was sent, and failed."""
    service = failing(error)
    cached = Cached(service)
    wrapped = wrap(cached)
    service.gate.clear()
    threads, calls = in_threads(MANY, lambda: run(colour, wrapped, "rerank", "q", ["a"]))
    until(lambda: waiting(cached) == MANY - 1)
    service.gate.set()
    failures = [call.exception() for call in calls]
    threads.shutdown()
    assert len(service.calls) == 1
    return wrapped, failures


def test_a_failure_that_many_share_is_paid_once(colour: str) -> None:
    budget, failures = shared(colour, lambda cached: Budget(cached, per_run=1.0), APIConnectionError("broke off"))
    assert isinstance(budget, Budget)
    assert budget.spent == ONE
    assert sorted(error.attempts for error in failures if isinstance(error, APIConnectionError)) == [0, 0, 0, 0, 1]
    assert sorted(error.history[0].usage.requests for error in failures) == [0, 0, 0, 0, 1]


def test_a_failure_that_many_share_takes_one_place_of_a_rate(colour: str) -> None:
    limited, _ = shared(
        colour, lambda cached: RateLimited(cached, requests_per_second=SLOW, burst=MANY), APIConnectionError("broke off")
    )
    for number in range(MANY - 1):
        run(colour, limited, "rerank", f"question {number}", ["a"], timeout=1.0)
    assert "nothing was sent" in str(failure(colour, limited, timeout=1.0))


def test_a_failure_that_many_share_counts_once_for_a_breaker(colour: str) -> None:
    breaker, _ = shared(colour, lambda cached: CircuitBreaker(cached, least=2, window=2), ServerError("down"))
    assert isinstance(breaker, CircuitBreaker)
    assert breaker.state == "closed"


def test_a_substitute_that_many_share_is_paid_once(colour: str) -> None:
    service = failing(APIConnectionError("broke off"))
    cached = Cached(Fallback(service, Passthrough()))
    budget = Budget(cached, per_run=1.0)
    service.gate.clear()
    threads, calls = in_threads(MANY, lambda: run(colour, budget, "rerank", "q", ["a"]))
    until(lambda: waiting(cached) == MANY - 1)
    service.gate.set()
    responses = [call.result() for call in calls]
    threads.shutdown()
    assert {response.status for response in responses} == {"degraded"}
    assert sorted(response.attempts[0].usage.requests for response in responses) == [0, 0, 0, 0, 1]
    assert budget.spent == ONE


# What is paid although the call failed


def test_an_answer_that_a_threshold_refuses_is_paid(colour: str) -> None:
    other = Threshold(0.5, provider="another", model="model")
    budget = Budget(MinScore(Scorer(price=ONE), other), per_run=1.0)
    assert isinstance(failure(colour, budget), InvalidRequestError)
    assert budget.spent == ONE


def test_an_answer_that_a_threshold_refuses_took_its_place_of_a_rate(colour: str) -> None:
    other = Threshold(0.5, provider="another", model="model")
    limited = RateLimited(MinScore(Scorer(), other), requests_per_second=SLOW)
    assert isinstance(failure(colour, limited), InvalidRequestError)
    assert isinstance(failure(colour, limited, timeout=0.5), RateLimitError)


class Picky(Scorer):
    """Its calls about ``"b"`` fail."""

    async def _rerank(self, io: IO, request: RerankRequest[Any]) -> RerankResponse[Any]:
        response = await super()._rerank(io, request)
        if "b" in request.documents:
            raise ServerError("down", status_code=500)
        return response


def test_what_a_cache_had_fetched_before_it_failed_is_told_and_paid(colour: str) -> None:
    """The first document is fetched, the second one is another call's, which fails."""
    service = Picky(price=ONE)
    cached = Cached(service)
    budget = Budget(cached, per_run=1.0)
    service.gate.clear()
    leaders, [leader] = in_threads(1, lambda: run(colour, cached, "rerank", "q", ["b"]))
    until(lambda: len(service.calls) == 1)
    followers, [follower] = in_threads(1, lambda: run(colour, budget, "rerank", "q", ["a", "b"]))
    until(lambda: len(service.calls) == 2)
    service.gate.set()
    error = follower.exception()
    assert isinstance(error, ServerError)
    assert [(turn.outcome, turn.cost) for turn in error.history] == [("served", ONE), ("failed", 0.0)]
    assert budget.spent == ONE
    assert isinstance(leader.exception(), ServerError)
    leaders.shutdown()
    followers.shutdown()


# What is paid although another answered, or nobody


def hanging(go_on: threading.Event) -> Callable[[Received], Reply]:
    def answer(_: Received) -> Reply:
        go_on.wait(30)
        return Reply(COHERE.answer([(0, 0.5)]))

    return answer


@pytest.mark.parametrize("composed", [False, True], ids=["on_error", "Fallback"])
def test_a_call_that_ran_out_of_time_is_paid_whoever_stood_in(composed: bool, colour: str) -> None:
    go_on = threading.Event()
    with recorder(hanging(go_on)) as server:
        inner = Client(COHERE.make(server.url), retry=Retry(attempts=1), on_error="raise" if composed else "passthrough")
        with Budget(Fallback(inner, Passthrough()) if composed else inner, per_run=1.0) as budget:
            response = run(colour, budget, "rerank", "q", ["a"], timeout=0.3)
            go_on.set()
    assert response.status == "degraded"
    assert response.attempts[0].cost is None
    assert budget.spent == ONE


def test_a_call_that_was_refused_costs_nothing_whoever_stood_in(colour: str) -> None:
    with recorder(lambda _: Reply(COHERE.error("no"), 503)) as server:
        inner = Client(COHERE.make(server.url), retry=Retry(attempts=2, base_delay=0.0))
        with Budget(Fallback(inner, Passthrough()), per_run=1.0) as budget:
            response = run(colour, budget, "rerank", "q", ["a"])
    assert (response.attempts[0].usage, response.attempts[0].cost) == (Usage(requests=2), 0.0)
    assert budget.spent == 0.0


def test_of_several_failures_each_counts_not_the_first_alone(colour: str) -> None:
    """The error that is raised is that of the first, which costs nothing."""
    budget = Budget(Fallback(failing(ServerError("no", status_code=500)), failing(APIConnectionError("cut"))), per_run=1.0)
    assert isinstance(failure(colour, budget), ServerError)
    assert budget.spent == ONE


def test_an_answer_that_nobody_waited_for_is_paid(colour: str) -> None:
    """One member of an ensemble has answered when another's key turns out to be wrong."""
    wrong = failing(AuthenticationError("no", status_code=401))
    wrong.latency = 0.2
    budget = Budget(Ensemble(Scorer(price=ONE), wrong), per_run=1.0)
    assert [turn.outcome for turn in failure(colour, budget).history] == ["served", "failed"]
    assert budget.spent == ONE


def test_retries_behind_a_passthrough_take_their_places_of_a_rate(colour: str) -> None:
    with recorder(lambda _: Reply(COHERE.error("no"), 503)) as server:
        inner = Client(COHERE.make(server.url), retry=Retry(attempts=3, base_delay=0.0), on_error="passthrough")
        with RateLimited(inner, requests_per_second=SLOW, burst=4) as limited:
            run(colour, limited, "rerank", "q", ["a"])
            run(colour, limited, "rerank", "q", ["a"])  # the fourth place
            with suppress(RerankError):
                run(colour, limited, "rerank", "q", ["a"], timeout=0.5)
            assert len(server.requests) == 6


def test_the_cost_of_a_refused_request_is_known_where_it_was_the_only_one(colour: str) -> None:
    with recorder(lambda _: Reply(COHERE.error("no"), 503)) as server:
        inner = Client(COHERE.make(server.url), retry=Retry(attempts=1))
        with Fallback(inner, Passthrough()) as reranker:
            one: Attempt = run(colour, reranker, "rerank", "q", ["a"]).attempts[0]
            several: Attempt = run(colour, reranker, "rerank", "q", ["a"] * 1_001).attempts[0]
    assert (one.cost, several.cost) == (0.0, None)


# What is left of a call


async def ended(reranker: BaseReranker, text: str) -> None:
    with suppress(RerankError):
        await reranker.arerank("q", [text])


def blocked(reranker: BaseReranker, text: str) -> None:
    with suppress(RerankError):
        reranker.rerank("q", [text])


class Text(str):
    """A text that one can wait for to be gone."""

    __slots__ = ("__weakref__",)


def down() -> FakeReranker:
    service = FakeReranker()
    service.fail(ServerError("down"))
    return service


def unkeyed() -> FakeReranker:
    service = FakeReranker()
    service.fail(AuthenticationError("no"))
    return service


@pytest.mark.parametrize(
    "make",
    [
        lambda: Fallback(down(), FakeReranker()),
        lambda: Fallback(down(), down()),
        lambda: Fallback(down(), unkeyed()),
        lambda: Ensemble(down(), FakeReranker()),
        lambda: Ensemble(down(), down()),
        lambda: Cached(Fallback(down(), Passthrough())),
    ],
    ids=["replaced", "all failed", "wrong key", "one is left", "nobody is left", "cached"],
)
def test_no_document_outlives_a_failure_until_the_garbage_is_collected(make: Callable[[], BaseReranker], colour: str) -> None:
    reranker = make()
    gc.collect()
    gc.disable()
    try:
        text = Text("a")
        if colour == "async":
            asyncio.run(ended(reranker, text))
        else:
            blocked(reranker, text)
        for fake in reranker.rerankers if isinstance(reranker, Wrapper) else ():
            for held in (fake, *getattr(fake, "rerankers", ())):
                getattr(held, "calls", []).clear()
        gone = weakref.ref(text)
        del text
        assert happens(lambda: gone() is None)
    finally:
        gc.enable()
