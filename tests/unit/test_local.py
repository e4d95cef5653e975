"""The ranker that needs no service, and the measures of the demo."""

from __future__ import annotations

import math
import sys
from typing import Any

import pytest

from helpers.ways import WAYS, Way, run
from rerankkit import BM25, DeadlineExceededError, InvalidRequestError, Reranker, connect
from rerankkit.cli.collection import Collection, ndcg, reciprocal_rank
from rerankkit.local import bm25_scores
from rerankkit.resilience.fallback import Fallback
from rerankkit.resilience.passthrough import Passthrough

TEXTS = ["a ferry", "a car", "", "the car ferry timetable", "Ferry!"]


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_it_ranks_like_any_other_reranker(way: Way) -> None:
    reranker = connect("local:bm25")
    assert isinstance(reranker, BM25)
    assert isinstance(reranker, Reranker)
    found = way(reranker, "ferry timetable", TEXTS)
    assert [index for index, _ in found] == [3, 0, 4, 1, 2]
    assert found[-2:] == [(1, 0.0), (2, None)]
    assert way(reranker, "ferry timetable", TEXTS, 2) == found[:2]
    assert way(reranker, "q", []) == []


def test_equal_scores_keep_the_given_order(colour: str) -> None:
    response = run(colour, BM25(), "rerank", "ferry", ["b ferry", "bus", "c ferry", "train"])
    assert [result.index for result in response] == [0, 2, 1, 3]


@pytest.mark.parametrize("texts", [["a"], ["the of and"], ["1 2 3"], ["???"], ["首都"]])
def test_texts_without_words_score_zero(texts: list[str], colour: str) -> None:
    response = run(colour, BM25(), "rerank", "the capital?", texts)
    assert [result.relevance_score for result in response] == [0.0] * len(texts)


def test_scores_are_bm25_in_lucenes_form() -> None:
    texts = ["ferry ferry car", "car", "bus train"]
    average = (3 + 1 + 2) / 3

    def expected(frequency: int, length: int, documents_with: int) -> float:
        idf = math.log(1 + (3 - documents_with + 0.5) / (documents_with + 0.5))
        return idf * frequency / (frequency + 1.2 * (1 - 0.75 + 0.75 * length / average))

    assert bm25_scores("ferry car", texts) == pytest.approx(
        [expected(2, 3, 1) + expected(1, 3, 2), expected(1, 1, 2), 0.0], rel=1e-5
    )


def test_wrong_calls_are_refused(colour: str) -> None:
    for call in ({"query": " "}, {"top_n": 0}, {"timeout": -1}):
        with pytest.raises(InvalidRequestError):
            run(colour, BM25(), "rerank", **{"query": "q", "documents": ["a"], **call})
    with pytest.raises(InvalidRequestError, match=r"documents\[0\] has no 'text'"):
        run(colour, BM25(), "rerank", "q", [{"title": "x"}])


def test_without_its_library_it_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bm25s", None)
    with pytest.raises(InvalidRequestError, match=r"pip install 'rerankkit\[local\]'"):
        BM25().rerank("q", ["a"])


@pytest.mark.parametrize(
    ("ranking", "expected"),
    [
        (["a", "b", "c"], 1.0),
        (["b", "a", "c"], (2 + 3 / math.log2(3) + 1 / 2) / (3 + 2 / math.log2(3) + 1 / 2)),
        (["x", "y"], 0.0),
        ([*"0123456789", "a"], 0.0),
        ([], 0.0),
    ],
)
def test_ndcg_as_by_hand(ranking: list[str], expected: float) -> None:
    assert ndcg(ranking, {"a": 3, "b": 2, "c": 1}) == pytest.approx(expected)


@pytest.mark.parametrize(("ranking", "expected"), [(["a"], 1.0), (["c", "b"], 0.5), (["c"], 0.0), ([*"0123456789", "a"], 0.0)])
def test_reciprocal_rank_as_by_hand(ranking: list[str], expected: float) -> None:
    assert reciprocal_rank(ranking, {"a": 3, "b": 2, "c": 1}) == expected


def test_the_sample_collection_is_whole() -> None:
    collection = Collection.load()
    known = {passage.id for passage in collection.passages}
    assert len(known) == len(collection.passages) >= 80
    assert len({passage.text for passage in collection.passages}) == len(known)
    assert len(collection.queries) >= 20
    for query in collection.queries:
        assert query.grades.keys() <= known
        assert max(query.grades.values()) == 3
        assert set(query.grades.values()) <= {1, 2, 3}


def test_the_first_stage_counts_shared_words() -> None:
    collection = Collection.load()
    passages = collection.first_stage("How often does the lighthouse horn sound in fog?", 25)
    assert len(passages) == 25

    def shared(passage: Any) -> int:
        return len(passage.words & {"how", "often", "does", "the", "lighthouse", "horn", "sound", "in", "fog"})

    counts = [shared(passage) for passage in passages]
    assert counts == sorted(counts, reverse=True)


def test_its_deadline_is_one_that_others_may_stand_in_for(colour: str) -> None:
    many = [f"a text of its own {number}" for number in range(2_000)]
    with pytest.raises(DeadlineExceededError, match=r"local:bm25 was not ready within 1e-06 s; allow more with timeout="):
        run(colour, BM25(), "rerank", "text", many, timeout=1e-6)
    assert run(colour, Fallback(BM25(timeout=1e-6), Passthrough()), "rerank", "text", many).served_by == "passthrough"
