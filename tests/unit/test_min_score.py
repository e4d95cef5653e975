"""What is not relevant enough is left out, but never because of an outage or of another model."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.properties import tries
from helpers.server import Received, Reply, recorder
from helpers.services import PINECONE, Service
from helpers.ways import run
from rerankkit import Client, Document, InvalidRequestError, RateLimitError, ServerError, Usage
from rerankkit.calibration import Threshold
from rerankkit.resilience.ensemble import Ensemble
from rerankkit.resilience.fallback import Fallback
from rerankkit.resilience.min_score import MinScore
from rerankkit.resilience.passthrough import Passthrough
from rerankkit.resilience.windowed import Windowed
from rerankkit.testing import FakeReranker

SCORES = {"a": 0.1, "b": 0.5, "c": 0.9, "d": 0.4999}
TEXTS = ["a", "b", " ", "c", "d"]
FAKE = Threshold(0.5, "fake", "fake")


def ranking(response: Any) -> list[tuple[int, Any]]:
    return [(result.index, result.relevance_score) for result in response]


@pytest.mark.parametrize("least", [0.5, FAKE])
def test_lower_scores_and_none_are_left_out_and_the_very_score_stays(least: Any, colour: str) -> None:
    response = run(colour, MinScore(FakeReranker(SCORES), least), "rerank", "q", TEXTS)
    assert ranking(response) == [(3, 0.9), (1, 0.5)]
    assert (response.status, response.warnings, response.served_by) == ("ok", (), "fake:fake")


@pytest.mark.parametrize(("top_n", "expected"), [(1, [3]), (2, [3, 1]), (4, [3, 1]), (None, [3, 1])])
def test_top_n_counts_what_is_left(top_n: int | None, expected: list[int], colour: str) -> None:
    response = run(colour, MinScore(FakeReranker(SCORES), 0.5), "rerank", "q", TEXTS, top_n=top_n)
    assert [result.index for result in response] == expected


@pytest.mark.parametrize(("least", "expected"), [(-1, 4), (0, 4), (0.10001, 3), (1, 0), (10**300, 0)])
def test_any_number_is_a_limit(least: float, expected: int, colour: str) -> None:
    assert len(run(colour, MinScore(FakeReranker(SCORES), least), "rerank", "q", TEXTS)) == expected


@tries(100)
@given(st.lists(st.floats(-1, 1), max_size=12), st.floats(-1, 1), st.integers(1, 12))
def test_it_is_the_ranking_up_to_the_first_score_that_is_too_low(values: list[float], least: float, top_n: int) -> None:
    fake = FakeReranker({str(place): value for place, value in enumerate(values)})
    texts = [str(place) for place in range(len(values))]
    whole = fake.rerank("q", texts)
    expected = [result for result in whole if result.relevance_score >= least][:top_n]
    assert list(MinScore(fake, least).rerank("q", texts, top_n=top_n)) == expected


def test_a_degraded_answer_is_left_as_it_is_and_says_so(colour: str) -> None:
    for substitute in (Passthrough(), FakeReranker({"b": 0.01})):
        broken = FakeReranker()
        broken.fail(ServerError("no"))
        response = run(colour, MinScore(Fallback(broken, substitute), FAKE), "rerank", "q", TEXTS, top_n=3)
        assert len(response) == 3
        assert response.status == "degraded"
        assert response.warnings == (
            "min_score was not applied: the answer is degraded: its scores, if any, are on another scale",
        )


def test_a_partial_answer_is_left_as_it_is_and_says_so(colour: str) -> None:
    broken = FakeReranker()
    broken.fail(ServerError("no"))
    response = run(colour, MinScore(Ensemble(FakeReranker(SCORES), broken), 0.03), "rerank", "q", TEXTS)
    assert len(response) == 5
    assert response.warnings == ("min_score was not applied: the answer is partial: its scores, if any, are on another scale",)


def test_a_threshold_refuses_another_model_and_says_which_and_what_it_cost(colour: str) -> None:
    class Priced(FakeReranker):
        async def _rerank(self, io: Any, request: Any) -> Any:
            return replace(await super()._rerank(io, request), cost=0.002)

    threshold = Threshold(0.5, "cohere", "rerank-v3.5")
    with pytest.raises(InvalidRequestError, match=r"0.5 was found for cohere:rerank-v3.5, but fake:fake served") as caught:
        run(colour, MinScore(Priced(SCORES), threshold), "rerank", "q", TEXTS)
    (turn,) = caught.value.history
    assert (turn.reranker, turn.outcome, turn.cost) == ("fake:fake", "served", 0.002)


def test_a_model_that_the_service_has_replaced_is_another_model(colour: str) -> None:
    def answer(request: Received) -> Reply:
        return Reply({"model": "cohere-rerank-4-fast", **PINECONE.answer([(0, 0.4)])})

    with recorder(answer) as served, Client(PINECONE.make(served.url, model="cohere-rerank-3.5")) as client:
        least = Threshold(0.3, "pinecone", "cohere-rerank-3.5")
        with pytest.raises(
            InvalidRequestError, match="found for pinecone:cohere-rerank-3.5, but pinecone:cohere-rerank-4-fast"
        ):
            run(colour, MinScore(client, least), "rerank", "q", ["a"])
        assert len(run(colour, MinScore(client, 0.3), "rerank", "q", ["a"])) == 1


def test_it_sends_what_is_sent_without_it(service: Service, colour: str) -> None:
    texts = ["the ferry", "a bus", "the ferry timetable"]

    def score(query: str, text: str) -> float:
        return float(len(set(query.split()) & set(text.split())))

    with recorder(service.scored(score)) as served, Client(service.make(served.url)) as client:
        one = run(colour, client, "rerank", "ferry timetable", texts, top_n=2)
        other = run(colour, MinScore(client, 2.0), "rerank", "ferry timetable", texts, top_n=2)
    assert [result.index for result in one] == [2, 0]
    assert [result.index for result in other] == [2]
    assert served.requests[0].json == served.requests[1].json


def test_what_else_the_answer_says_is_kept_and_so_are_the_callers_documents(colour: str) -> None:
    class Answering(FakeReranker):
        async def _rerank(self, io: Any, request: Any) -> Any:
            found = await super()._rerank(io, request)
            return replace(found, cost=0.5, usage=Usage(2), request_ids=("r",), warnings=("told",))

    documents = [{"text": "c", "page": 1}, Document("b"), "a"]
    response = run(colour, MinScore(Answering(SCORES), 0.5), "rerank", "q", documents)
    assert (response.cost, response.usage, response.request_ids, response.warnings) == (0.5, Usage(2), ("r",), ("told",))
    assert [result.document is documents[result.index] for result in response] == [True, True]
    assert [attempt.outcome for attempt in response.attempts] == ["served"]


def test_errors_go_through_and_an_empty_list_is_none(colour: str) -> None:
    fake = FakeReranker()
    assert len(run(colour, MinScore(fake, 0.5), "rerank", "q", [])) == 0
    fake.fail(RateLimitError("not now"))
    with pytest.raises(RateLimitError, match="not now"):
        run(colour, MinScore(fake, 0.5), "rerank", "q", TEXTS)


def test_in_an_ensemble_what_one_leaves_out_gets_nothing_from_it(colour: str) -> None:
    ensemble = Ensemble(MinScore(FakeReranker(SCORES), 0.5), MinScore(FakeReranker({"a": 1.0}), 0.5))
    response = run(colour, ensemble, "rerank", "q", TEXTS)
    assert ranking(response) == [(0, pytest.approx(1 / 61)), (3, pytest.approx(1 / 61)), (1, pytest.approx(1 / 62))]


def test_around_windows_it_goes_by_the_whole_documents_score(colour: str) -> None:
    windowed = Windowed(
        FakeReranker(lambda _, text: float("x" in text)), tokens=2, overlap=0, tokenizer=lambda t: len(t.split())
    )
    response = run(colour, MinScore(windowed, 1.0), "rerank", "q", ["a b c d", "a b c x"])
    assert [(result.index, result.spans[0].start) for result in response] == [(1, 4)]


@pytest.mark.parametrize("wrong", [None, "0.5", True, float("nan"), float("inf"), 10**400])
def test_a_limit_that_is_no_number_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidRequestError, match="min_score must be a finite number"):
        MinScore(FakeReranker(), wrong)


def test_it_is_copied_and_pickled_by_its_arguments() -> None:
    reranker = MinScore(Passthrough(), FAKE, timeout=7.0)
    for again in (pickle.loads(pickle.dumps(reranker)), copy.deepcopy(reranker)):
        assert repr(again) == repr(reranker)
        assert again.min_score == FAKE
        assert again.timeout == 7.0
    assert repr(MinScore(Passthrough(), 0.5)) == "MinScore(Passthrough(), min_score=0.5)"
    assert MinScore(FakeReranker(), 0.5).label == "fake:fake"
