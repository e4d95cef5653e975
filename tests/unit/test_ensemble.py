"""Several rankings become one: by ranks, by scores, with the first stage's, and without those who failed."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
import time
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.properties import tries
from helpers.server import recorder
from helpers.services import COHERE, Service
from helpers.ways import run
from rerankkit import (
    AuthenticationError,
    Client,
    Cohere,
    DeadlineExceededError,
    Document,
    InvalidRequestError,
    Reranker,
    RerankResponse,
    Retry,
    ServerError,
    Span,
    Usage,
)
from rerankkit.money import FREE, Estimate
from rerankkit.resilience._fusing import by_rank, by_score
from rerankkit.resilience.ensemble import Ensemble, FirstStage
from rerankkit.resilience.fallback import Fallback
from rerankkit.resilience.passthrough import Passthrough
from rerankkit.testing import FakeReranker
from rerankkit.types import CacheUse

TEXTS = ["a", "b", "c", "d"]
ONE = {"a": 0.1, "b": 0.9, "c": 0.5, "d": 0.5}  # ranks 4, 1, 2, 2
OTHER = {"a": 80.0, "b": 20.0, "c": 60.0, "d": 40.0}  # ranks 1, 4, 2, 3


class Answering(FakeReranker):
    """A fake whose answers say more."""

    def __init__(self, scores: Any = None, **more: Any) -> None:
        super().__init__(scores)
        self.more = more

    async def _rerank(self, io: Any, request: Any) -> Any:
        return replace(await super()._rerank(io, request), **self.more)


class Foreign:
    """A reranker of somebody else's, whose calls last until *released*, whatever they are told."""

    def __init__(self, released: threading.Event) -> None:
        self.released = released

    def rerank(self, query: str, documents: Any, **_: Any) -> Any:
        self.released.wait(30)
        return FakeReranker().rerank(query, documents)

    async def arerank(self, query: str, documents: Any, **_: Any) -> Any:
        return await asyncio.Event().wait()


def ranking(response: Any) -> list[tuple[int, Any]]:
    return [(result.index, result.relevance_score) for result in response]


def outcomes(response: Any) -> list[tuple[str, str]]:
    return [(attempt.reranker, attempt.outcome) for attempt in response.attempts]


def test_reciprocal_ranks_are_summed_as_by_hand(colour: str) -> None:
    response = run(colour, Ensemble(FakeReranker(ONE), FakeReranker(OTHER)), "rerank", "q", TEXTS)
    assert ranking(response) == [
        (2, pytest.approx(1 / 62 + 1 / 62)),
        (0, pytest.approx(1 / 64 + 1 / 61)),
        (1, pytest.approx(1 / 61 + 1 / 64)),
        (3, pytest.approx(1 / 62 + 1 / 63)),
    ]
    assert response[1].relevance_score == response[2].relevance_score
    assert (response.provider, response.model, response.served_by, response.status) == ("ensemble", None, "ensemble", "ok")


def test_weights_and_k_are_what_the_formula_says(colour: str) -> None:
    ensemble = Ensemble(FakeReranker(ONE), FakeReranker(OTHER), weights=[2, 0.5], k=0)
    response = run(colour, ensemble, "rerank", "q", TEXTS)
    expected = {0: 2 / 4 + 0.5 / 1, 1: 2 / 1 + 0.5 / 4, 2: 2 / 2 + 0.5 / 2, 3: 2 / 2 + 0.5 / 3}
    assert ranking(response) == [(index, pytest.approx(expected[index])) for index in (1, 2, 3, 0)]


def test_scores_are_spread_from_0_to_1_and_summed_as_by_hand(colour: str) -> None:
    ensemble = Ensemble(FakeReranker(ONE), FakeReranker(OTHER), weights=(1.0, 3.0), method="scores")
    response = run(colour, ensemble, "rerank", "q", TEXTS)
    expected = {0: 0 + 3 * 1, 1: 1 + 3 * 0, 2: 0.5 + 3 * 2 / 3, 3: 0.5 + 3 * 1 / 3}
    assert ranking(response) == [(index, pytest.approx(expected[index])) for index in (0, 2, 3, 1)]


@pytest.mark.parametrize("flat", [0.7, 0.0, -3.0])
def test_a_reranker_that_finds_all_equal_changes_no_order(flat: float, colour: str) -> None:
    for method in ("rrf", "scores"):
        ensemble = Ensemble(FakeReranker(lambda *_: flat), FakeReranker(OTHER), method=method)
        response = run(colour, ensemble, "rerank", "q", TEXTS)
        assert [result.index for result in response] == [0, 2, 3, 1]
    assert by_score({4: flat, 2: flat}) == {4: 0.5, 2: 0.5}
    assert by_score({}) == {}


def test_what_is_equal_in_sum_keeps_the_given_order_whoever_ranked_it_first(colour: str) -> None:
    """Added up one by one, they would differ in the last bit."""
    orders = ["y.....x", "xy.....", ".x....y"]  # x has the ranks 7, 1 and 2, and y 1, 2 and 7
    texts = ["x", "y", "1", "2", "3", "4", "5"]
    assert 1 / 67 + 1 / 61 + 1 / 62 < 1 / 61 + 1 / 62 + 1 / 67
    response = run(colour, Ensemble(*(FakeReranker(_scores_of(order, texts)) for order in orders)), "rerank", "q", texts)
    scores = {result.index: result.relevance_score for result in response}
    assert scores[0] == scores[1]
    assert [result.index for result in response if result.index < 2] == [0, 1]


def _scores_of(order: str, texts: list[str]) -> dict[str, float]:
    """Those of the documents in *order*, whose points are the texts that it does not name."""
    others = iter(text for text in texts if text not in order)
    return {next(others) if sign == "." else sign: -float(place) for place, sign in enumerate(order)}


finite = st.floats(allow_nan=False, allow_infinity=False)
scores_by_index = st.dictionaries(st.integers(0, 30), st.one_of(finite, st.sampled_from([0.0, 5e-324, 1e-300])), min_size=1)


@tries(100)
@given(scores_by_index, st.integers(0, 100))
def test_both_scales_are_bounded_and_keep_every_order(scores: dict[int, float], k: int) -> None:
    for values, most in ((by_rank(scores, k), 1 / (k + 1)), (by_score(scores), 1.0)):
        assert values.keys() == scores.keys()
        assert all(0 <= value <= most for value in values.values())
        ordered = sorted(scores, key=lambda index: scores[index])
        for one, other in pairwise(ordered):
            assert values[one] <= values[other]
            assert scores[one] != scores[other] or values[one] == values[other]


def test_all_are_asked_at_the_same_time() -> None:
    both = threading.Barrier(2)
    rerankers = [FakeReranker(lambda _query, _text: both.wait(10) * 0.0) for _ in range(2)]
    assert ranking(Ensemble(*rerankers).rerank("q", ["a"])) == [(0, pytest.approx(2 / 61))]


def test_all_are_asked_at_the_same_time_in_an_event_loop() -> None:
    class Meeting(Foreign):
        async def arerank(self, query: str, documents: Any, **_: Any) -> Any:
            begun.append(1)
            if len(begun) == 2:
                both.set()
            await both.wait()
            return await FakeReranker().arerank(query, documents)

    async def main() -> Any:
        ensemble = Ensemble(Meeting(threading.Event()), Meeting(threading.Event()))
        return await asyncio.wait_for(ensemble.arerank("q", TEXTS), 20)

    begun: list[int] = []
    both = asyncio.Event()
    assert len(asyncio.run(main())) == 4


def test_top_n_is_applied_to_the_sum_and_members_rank_all(colour: str) -> None:
    one, other = FakeReranker(ONE), FakeReranker(OTHER)
    response = run(colour, Ensemble(one, other), "rerank", "q", TEXTS, top_n=2)
    assert [result.index for result in response] == [2, 0]
    assert [call.top_n for reranker in (one, other) for call in reranker.calls] == [None, None]


def test_everybodys_usage_cost_ids_and_warnings_are_added_up(colour: str) -> None:
    one = Answering(ONE, cost=0.002, usage=Usage(1, search_units=1.0), request_ids=("r-1",), warnings=("one",))
    other = Answering(OTHER, cost=0.001, usage=Usage(2, total_tokens=40), request_ids=("r-2", "r-3"), warnings=("two",))
    response = run(colour, Ensemble(one, other, FirstStage()), "rerank", "q", [Document(text, score=1.0) for text in TEXTS])
    assert response.cost == pytest.approx(0.003)
    assert response.usage == Usage(3, search_units=1.0, total_tokens=40)
    assert response.request_ids == ("r-1", "r-2", "r-3")
    assert response.warnings == ("one", "two")
    assert outcomes(response) == [("fake:fake", "served"), ("fake:fake", "served"), ("first_stage", "served")]
    assert response.attempts[1].usage == Usage(2, total_tokens=40)


def test_an_unknown_cost_makes_the_sum_unknown(colour: str) -> None:
    ensemble = Ensemble(Answering(ONE, cost=0.002), FakeReranker(OTHER))
    assert run(colour, ensemble, "rerank", "q", TEXTS).cost is None


def test_what_caches_did_is_added_up(colour: str) -> None:
    one, other = Answering(ONE, cache=CacheUse(3, 1, 0.25)), Answering(OTHER, cache=CacheUse(0, 4, 0.5))
    assert run(colour, Ensemble(one, other, FakeReranker()), "rerank", "q", TEXTS).cache == CacheUse(3, 5, 0.75)
    assert run(colour, Ensemble(FakeReranker()), "rerank", "q", TEXTS).cache is None


def test_an_outage_of_one_is_told_and_the_others_rank(colour: str, caplog: pytest.LogCaptureFixture) -> None:
    broken = FakeReranker()
    broken.fail(ServerError("broke down", provider="fake"))
    response = run(colour, Ensemble(FakeReranker(ONE), broken), "rerank", "q", TEXTS)
    assert [result.index for result in response] == [1, 2, 3, 0]
    assert response[0].relevance_score == pytest.approx(1 / 61)
    assert response.status == "partial"
    assert outcomes(response) == [("fake:fake", "served"), ("fake:fake", "failed")]
    assert "ServerError: fake: broke down" in str(response.attempts[1].error)


def test_with_fewer_than_least_the_first_failure_is_raised_and_tells_of_the_others(colour: str) -> None:
    one, other = FakeReranker(), FakeReranker()
    first = ServerError("the first", provider="one")
    one.fail(first)
    other.fail(ServerError("the second", provider="other"))
    with pytest.raises(ServerError) as caught:
        run(colour, Ensemble(FakeReranker(), one, other, least=2), "rerank", "q", TEXTS)
    assert caught.value is first
    assert [attempt.outcome for attempt in first.history] == ["served", "failed", "failed"]
    assert first.__notes__ == ["Besides: ServerError: other: the second"]


def test_as_many_as_least_are_enough(colour: str) -> None:
    broken = FakeReranker()
    broken.fail(ServerError("no"))
    assert run(colour, Ensemble(FakeReranker(), broken, FakeReranker(), least=2), "rerank", "q", TEXTS).status == "partial"


def test_a_bad_key_is_raised_at_once_and_says_who_had_answered(colour: str) -> None:
    wrong = FakeReranker(latency=0.1)
    wrong.fail(AuthenticationError("no such key", provider="fake"))
    ensemble = Ensemble(FirstStage(), FakeReranker(latency=60.0, timeout=90.0), wrong, timeout=90.0)
    started = time.monotonic()
    with pytest.raises(AuthenticationError, match="no such key") as caught:
        run(colour, ensemble, "rerank", "q", [Document(text, score=1.0) for text in TEXTS])
    assert time.monotonic() - started < 20
    assert [attempt.outcome for attempt in caught.value.history] == ["served", "failed"]


def test_an_error_that_is_no_rerankers_is_not_counted_as_an_outage(colour: str) -> None:
    broken = FakeReranker()
    broken.fail(LookupError("a bug"))
    with pytest.raises(LookupError, match="a bug"):
        run(colour, Ensemble(FakeReranker(), broken), "rerank", "q", TEXTS)


def test_who_is_late_is_left_behind_in_time_for_the_others(colour: str) -> None:
    slow, fast = FakeReranker(latency=60.0, timeout=90.0), FakeReranker(ONE)
    response = run(colour, Ensemble(slow, fast), "rerank", "q", TEXTS, timeout=1.0)
    assert [result.index for result in response] == [1, 2, 3, 0]
    assert response.status == "partial"
    assert outcomes(response) == [("fake:fake", "failed"), ("fake:fake", "served")]
    assert "DeadlineExceededError" in str(response.attempts[0].error)
    assert slow.calls[0].timeout == pytest.approx(0.95, abs=0.05)


def test_who_does_not_keep_to_its_time_is_left_behind_too(colour: str) -> None:
    released = threading.Event()
    foreign = Foreign(released)
    assert isinstance(foreign, Reranker)
    try:
        response = run(colour, Ensemble(foreign, FakeReranker(ONE)), "rerank", "q", TEXTS, timeout=0.5)
        assert outcomes(response) == [("Foreign", "failed"), ("fake:fake", "served")]
        assert "Foreign did not answer within 0.48" in str(response.attempts[0].error)
        with pytest.raises(DeadlineExceededError, match="allow more with timeout="):
            run(colour, Ensemble(foreign, FakeReranker(ONE), least=2), "rerank", "q", TEXTS, timeout=0.5)
    finally:
        released.set()


def test_a_cancelled_call_cancels_everybody() -> None:
    ended: list[str] = []

    class Waiting(Foreign):
        async def arerank(self, query: str, documents: Any, **_: Any) -> Any:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                ended.append("cancelled")
                raise

    async def main() -> None:
        task = asyncio.create_task(Ensemble(Waiting(threading.Event()), Waiting(threading.Event())).arerank("q", TEXTS))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert ended == ["cancelled"] * 2


def test_the_given_order_is_blended_by_rank_and_is_no_failure(colour: str) -> None:
    response = run(colour, Ensemble(FakeReranker(ONE), Passthrough(), weights=(0.8, 0.2)), "rerank", "q", TEXTS)
    expected = {0: 0.8 / 64 + 0.2 / 61, 1: 0.8 / 61 + 0.2 / 62, 2: 0.8 / 62 + 0.2 / 63, 3: 0.8 / 62 + 0.2 / 64}
    assert ranking(response) == [(index, pytest.approx(expected[index])) for index in (1, 2, 3, 0)]
    assert response.status == "ok"
    assert all(result.skipped is None for result in response)


def test_by_scores_the_given_order_falls_evenly_from_1_to_0(colour: str) -> None:
    response = run(colour, Ensemble(FakeReranker(ONE), Passthrough(), method="scores"), "rerank", "q", TEXTS)
    expected = {0: 0 + 1, 1: 1 + 2 / 3, 2: 0.5 + 1 / 3, 3: 0.5 + 0}
    assert ranking(response) == [(index, pytest.approx(expected[index])) for index in (1, 0, 2, 3)]


def test_if_nobody_ranks_the_answer_is_degraded_and_invents_no_scores(colour: str) -> None:
    broken = FakeReranker()
    broken.fail(ServerError("no"))
    response = run(colour, Ensemble(broken, Passthrough()), "rerank", "q", TEXTS, top_n=3)
    assert [(result.index, result.relevance_score, result.skipped) for result in response] == [
        (index, None, "not_ranked") for index in range(3)
    ]
    assert (response.status, response.served_by, response.cost) == ("degraded", "passthrough", 0.0)
    assert outcomes(response) == [("fake:fake", "failed"), ("passthrough", "served")]


@pytest.mark.parametrize(
    ("members", "status"), [(("ok", "ok"), "ok"), (("degraded", "ok"), "partial"), (("degraded", "degraded"), "degraded")]
)
def test_a_substitutes_ranking_is_told(members: tuple[str, str], status: str, colour: str) -> None:
    rerankers = []
    for member in members:
        first = FakeReranker()
        if member == "degraded":
            first.fail(ServerError("no"))
        rerankers.append(Fallback(first, FakeReranker(ONE)))
    response = run(colour, Ensemble(*rerankers), "rerank", "q", TEXTS)
    assert response.status == status
    assert len(response.attempts) == 2 + members.count("degraded")


def test_documents_without_a_score_add_nothing_and_those_with_none_at_all_come_last(colour: str) -> None:
    texts = ["", "a", " ", "b"]
    response = run(colour, Ensemble(FakeReranker(ONE), Passthrough()), "rerank", "q", texts)
    assert ranking(response)[:2] == [(3, pytest.approx(1 / 61 + 1 / 62)), (1, pytest.approx(1 / 62 + 1 / 61))][::-1]
    assert [(result.index, result.skipped) for result in response][2:] == [(0, "blank"), (2, "blank")]


def test_what_only_one_has_ranked_counts_by_that_one(colour: str) -> None:
    few = Answering(results=())
    response = run(colour, Ensemble(few, FakeReranker(ONE)), "rerank", "q", TEXTS)
    assert ranking(response)[0] == (1, pytest.approx(1 / 61))


def test_the_first_spans_that_somebody_reports_are_kept(colour: str) -> None:
    class Spanning(FakeReranker):
        async def _rerank(self, io: Any, request: Any) -> Any:
            response = await super()._rerank(io, request)
            return replace(response, results=tuple(replace(result, spans=(Span(0, 1, 0.5),)) for result in response))

    response = run(colour, Ensemble(FakeReranker(), Spanning()), "rerank", "q", TEXTS)
    assert [result.spans for result in response] == [(Span(0, 1, 0.5),)] * 4


def test_the_callers_own_documents_come_back(colour: str) -> None:
    documents = [{"text": "a", "page": 1}, Document("b", id="x"), "c"]
    response = run(colour, Ensemble(FakeReranker(ONE), FakeReranker(OTHER)), "rerank", "q", documents)
    assert all(result.document is documents[result.index] for result in response)
    assert len(run(colour, Ensemble(FakeReranker(), Passthrough()), "rerank", "q", [])) == 0


def test_the_first_stages_score_ranks(colour: str) -> None:
    documents = [Document("a", score=0.1), {"text": "b", "score": 7}, Document(" ", score=9.0), Document("c", score=7.0)]
    response = run(colour, FirstStage(), "rerank", "q", documents, top_n=4)
    assert ranking(response) == [(1, 7.0), (3, 7.0), (0, 0.1), (2, None)]
    assert (response.served_by, response.cost, response.usage) == ("first_stage", 0.0, Usage())
    assert len(run(colour, FirstStage(), "rerank", "q", documents, top_n=1)) == 1


def test_a_cache_can_hold_first_stages_and_ensembles_of_them() -> None:
    identity = Ensemble(FirstStage(), Passthrough()).cache_identity()
    assert FirstStage().cache_identity() == FirstStage().cache_identity()
    assert identity is not None
    assert not identity.pointwise
    assert identity == Ensemble(FirstStage(), Passthrough(), timeout=1.0).cache_identity()
    assert identity != Ensemble(FirstStage(), Passthrough(), k=10).cache_identity()


@pytest.mark.parametrize("bad", ["c", Document("c"), {"text": "c", "score": "high"}, Document("c", score=float("nan"))])
def test_a_document_without_a_first_stage_score_is_refused_before_anybody_is_asked(bad: Any, colour: str) -> None:
    costly = FakeReranker()
    with pytest.raises(InvalidRequestError, match=r"documents\[1\] has no finite first-stage score.*Passthrough\(\)"):
        run(colour, Ensemble(costly, FirstStage()), "rerank", "q", [Document("a", score=1.0), bad])
    assert costly.calls == []


def test_each_service_is_sent_all_documents_once_and_no_top_n(service: Service, colour: str) -> None:
    texts = ["the ferry", "a bus", "the ferry timetable"]

    def score(query: str, text: str) -> float:
        return float(len(set(query.split()) & set(text.split())))

    with recorder(service.scored(score)) as one, recorder(COHERE.scored(score)) as other:
        with Client(service.make(one.url)) as first, Client(COHERE.make(other.url)) as second:
            response = run(colour, Ensemble(first, second), "rerank", "ferry timetable", texts, top_n=1)
    assert [result.index for result in response] == [2]
    assert response.usage.requests == 2
    for requests, sent in ((one.requests, service), (other.requests, COHERE)):
        assert [sent.texts(request.json) for request in requests] == [texts]
        assert [requests[0].json.get(name) for name in ("top_n", "top_k")] == [None, None]


def test_a_service_that_is_down_leaves_the_ranking_to_the_first_stage(colour: str) -> None:
    down = Cohere(api_key="k" * 20, base_url="http://127.0.0.1:9")
    with Client(down, retry=Retry(attempts=1)) as client:
        documents = [Document("a", score=1.0), Document("b", score=2.0)]
        response = run(colour, Ensemble(client, FirstStage(), weights=(0.8, 0.2)), "rerank", "q", documents)
    assert ranking(response) == [(1, pytest.approx(0.2 / 61)), (0, pytest.approx(0.2 / 62))]
    assert response.status == "partial"
    assert outcomes(response) == [("cohere:rerank-v3.5", "failed"), ("first_stage", "served")]


def test_its_estimate_is_that_of_all(colour: str) -> None:
    class Priced(FakeReranker):
        def _estimate(self, request: Any) -> Estimate:
            return Estimate(Usage(1, total_tokens=10), 0.5)

    assert Ensemble(Priced(), Priced(), FirstStage()).estimate("q", TEXTS) == Estimate(Usage(2, total_tokens=20), 1.0)
    assert Ensemble(Priced(), FakeReranker()).estimate("q", TEXTS).cost is None
    assert FirstStage().estimate("q", TEXTS) == FREE


def test_it_is_copied_and_pickled_by_its_arguments(colour: str) -> None:
    ensemble = Ensemble(Passthrough(), FirstStage(), weights=(0.25, 1.0), method="scores", k=10, least=2, timeout=7.0)
    for again in (pickle.loads(pickle.dumps(ensemble)), copy.deepcopy(ensemble)):
        assert repr(again) == repr(ensemble)
        assert dict(again.arguments()).keys() == {"rerankers", "weights", "method", "k", "least", "timeout"}
        documents = [Document("a", score=1.0), Document("b", score=2.0)]
        assert ranking(run(colour, again, "rerank", "q", documents)) == ranking(ensemble.rerank("q", documents))
    assert ensemble.label == "ensemble"
    assert repr(ensemble).startswith("Ensemble(Passthrough(), FirstStage(), weights=[0.25, 1.0], method='scores'")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"weights": (1.0,)}, "weights must be a list of 2 numbers"),
        ({"weights": (1.0, 0.0)}, "leave out the reranker that is to count for nothing"),
        ({"weights": (1.0, -1.0)}, "above 0"),
        ({"weights": (1.0, float("nan"))}, "above 0"),
        ({"weights": (1.0, float("inf"))}, "at most 1e"),
        ({"weights": (1.0, 10**400)}, "at most 1e"),
        ({"weights": (1.0, True)}, "weights must be"),
        ({"weights": "ab"}, "weights must be"),
        ({"weights": 1.0}, "weights must be"),
        ({"method": "borda"}, "method must be one of 'rrf', 'scores'"),
        ({"k": -1}, "k must be a whole number from 0"),
        ({"k": 60.5}, "k must be a whole number"),
        ({"k": 10**400}, "k must be a whole number"),
        ({"least": 0}, "least must be a whole number from 1 to 2"),
        ({"least": 3}, "there are no more rerankers than that"),
        ({"timeout": 0}, "timeout must be"),
    ],
)
def test_what_is_out_of_range_is_refused_when_it_is_made(options: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidRequestError, match=told):
        Ensemble(FakeReranker(), FakeReranker(), **options)


def test_it_needs_rerankers() -> None:
    with pytest.raises(InvalidRequestError, match="at least one reranker"):
        Ensemble()
    with pytest.raises(InvalidRequestError, match="expected a reranker"):
        Ensemble("cohere")  # type: ignore[arg-type]


def test_responses_say_what_type_they_are() -> None:
    response: RerankResponse[str] = Ensemble(FakeReranker()).rerank("q", TEXTS)
    assert response.documents == TEXTS
