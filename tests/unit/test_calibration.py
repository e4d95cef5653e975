"""Thresholds and probabilities from judged pairs: as by hand, for one model, and never in another order."""

from __future__ import annotations

import json
import math
import pickle
import random
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.properties import tries
from helpers.server import Received, Reply, recorder
from helpers.services import COHERE, PINECONE
from helpers.ways import run
from rerankkit import Client, InvalidRequestError, ServerError
from rerankkit.calibration import Calibration, Threshold
from rerankkit.resilience.fallback import Fallback
from rerankkit.testing import FakeReranker

TWO = [(0.8, True)] * 5 + [(0.2, False)] * 5


def fitted(judged: Any, **served: Any) -> Calibration:
    return Calibration.fit(judged, **{"provider": "cohere", "model": "rerank-v3.5", **served})


def test_two_scores_are_fitted_as_by_hand() -> None:
    """With 5 of each the targets are 6/7 and 1/7, whose log-odds are log 6 and -log 6: a line through two points."""
    calibration = fitted(TWO)
    assert calibration.slope == pytest.approx(2 * math.log(6) / 0.6, rel=1e-6)
    assert calibration.intercept == pytest.approx(-math.log(6) - 0.2 * 2 * math.log(6) / 0.6, rel=1e-6)
    assert calibration.probability(0.8) == pytest.approx(6 / 7, rel=1e-6)
    assert calibration.probability(0.2) == pytest.approx(1 / 7, rel=1e-6)
    assert calibration.threshold().value == pytest.approx(0.5, rel=1e-6)
    assert calibration.log_loss == pytest.approx(-math.log(6 / 7), rel=1e-6)
    assert (calibration.pairs, calibration.wrong) == (10, 0)


def test_two_scores_with_faults_are_fitted_as_by_hand() -> None:
    """12 at 1.0, of them 9 relevant; 8 at -1.0, of them 2: targets 12/13 and 1/11, their means are what is fitted."""
    judged = [(1.0, True)] * 9 + [(1.0, False)] * 3 + [(-1.0, True)] * 2 + [(-1.0, False)] * 6
    high, low = (9 * 12 / 13 + 3 * 1 / 11) / 12, (2 * 12 / 13 + 6 * 1 / 11) / 8
    calibration = fitted(judged)
    assert calibration.probability(1.0) == pytest.approx(high, rel=1e-6)
    assert calibration.probability(-1.0) == pytest.approx(low, rel=1e-6)
    assert (calibration.pairs, calibration.wrong) == (20, 5)
    expected = -(9 * math.log(high) + 3 * math.log(1 - high) + 2 * math.log(low) + 6 * math.log(1 - low)) / 20
    assert calibration.log_loss == pytest.approx(expected, rel=1e-6)


def test_it_finds_the_curve_that_made_the_labels() -> None:
    rng = random.Random(7)
    scores = [rng.uniform(-2, 6) for _ in range(5_000)]
    judged = [(score, rng.random() < 1 / (1 + math.exp(-(1.5 * score - 3.0)))) for score in scores]
    calibration = fitted(judged)
    assert calibration.slope == pytest.approx(1.5, rel=0.1)
    assert calibration.threshold().value == pytest.approx(2.0, abs=0.1)
    assert calibration.threshold(0.9).value == pytest.approx((math.log(9) + 3.0) / 1.5, abs=0.2)


def test_its_gradient_is_zero_where_it_stops() -> None:
    rng = random.Random(3)
    judged = [(rng.gauss(0.6 if place % 3 else 0.3, 0.15), bool(place % 3)) for place in range(300)]
    calibration = fitted(judged)
    targets = {True: 201 / 202, False: 1 / 102}
    off = [(calibration.probability(score) - targets[label], score) for score, label in judged]
    assert abs(sum(d for d, _ in off)) < 1e-6
    assert abs(sum(d * score for d, score in off)) < 1e-6


@pytest.mark.parametrize("gap", [1e-9, 0.5, 1e6])
def test_scores_that_tell_without_a_fault_do_not_diverge(gap: float) -> None:
    judged = [(place * 1e-3 * gap, False) for place in range(50)] + [(gap + place * 1e-3 * gap, True) for place in range(50)]
    calibration = fitted(judged)
    assert 0 < calibration.slope < math.inf
    assert calibration.wrong == 0
    assert 0.049 * gap < calibration.threshold().value < gap
    assert calibration.probability(gap * 1e3) <= 1.0


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (-1e5, 1e3), (0.0, 1e-6), (40.0, 250.0)])
def test_another_scale_of_scores_changes_no_probability(shift: float, scale: float) -> None:
    rng = random.Random(5)
    judged = [(rng.gauss(0.6 if place % 2 else 0.4, 0.2), bool(place % 2)) for place in range(100)]
    one, other = fitted(judged), fitted([(shift + scale * score, label) for score, label in judged])
    assert other.log_loss == pytest.approx(one.log_loss, rel=1e-6)
    assert other.threshold(0.7).value == pytest.approx(shift + scale * one.threshold(0.7).value, rel=1e-6)
    assert other.probability(shift + scale * 0.5) == pytest.approx(one.probability(0.5), rel=1e-6)


scores = st.floats(-1e6, 1e6)


@tries(80)
@given(st.lists(st.tuples(scores, st.booleans()), min_size=10, max_size=60), st.lists(scores, min_size=2), st.data())
def test_it_never_changes_an_order_and_its_thresholds_mean_what_they_say(judged: Any, others: Any, data: Any) -> None:
    try:
        calibration = fitted(judged)
    except InvalidRequestError:
        return
    ordered = sorted(others)
    assert all(calibration.probability(one) <= calibration.probability(other) for one, other in pairwise(ordered))
    assert all(0.0 <= calibration.probability(score) <= 1.0 for score in ordered)
    likely = data.draw(st.floats(0.01, 0.99))
    threshold = calibration.threshold(likely)
    assert calibration.probability(threshold.value) == pytest.approx(likely, abs=1e-3)
    wrong = sum((score >= calibration.threshold().value) != label for score, label in judged)
    assert calibration.wrong == wrong
    assert wrong <= len(judged)


@pytest.mark.parametrize(
    ("judged", "told"),
    [
        ([], "at least 10 judged pairs, 3 of them relevant and 3 not; got 0, 0 of them relevant"),
        (TWO[:9], "got 9, 5 of them relevant"),
        ([(0.1, True)] * 20, "got 20, 20 of them relevant"),
        ([(0.1, False)] * 18 + [(0.2, True)] * 2, "got 20, 2 of them relevant: judge more"),
        ([(0.5, True)] * 10 + [(0.5, False)] * 10, "all 20 judged scores are 0.5"),
        ([(0.2, True)] * 10 + [(0.8, False)] * 10, "those of relevant documents are not the higher ones"),
        ([*TWO, 0.5], r"judged\[10\] must be a score and whether it is relevant, got \(0.5,\)"),
        ([*TWO, (0.5, 1)], r"judged\[10\]\[1\] must be True or False, got 1"),
        ([*TWO, (math.nan, True)], r"judged\[10\]\[0\] must be a finite number, got nan"),
        ([*TWO, (10**400, True)], r"judged\[10\]\[0\] must be a finite number"),
        ([*TWO, ("0.5", True)], r"judged\[10\]\[0\] must be a finite number, got '0.5'"),
        ([*TWO, (None, True)], r"judged\[10\]\[0\] must be a finite number, got None"),
    ],
)
def test_what_nothing_can_be_learned_from_is_refused(judged: Any, told: str) -> None:
    with pytest.raises(InvalidRequestError, match=told):
        fitted(judged)


@pytest.mark.parametrize("probability", [0, 1, 0.0, 1.0, -0.1, math.nan, "0.5", True, None])
def test_a_probability_lies_between_0_and_1(probability: Any) -> None:
    with pytest.raises(InvalidRequestError, match="probability must be a number above 0 and below 1"):
        fitted(TWO).threshold(probability)


def test_a_score_must_be_one_to_have_a_probability() -> None:
    with pytest.raises(InvalidRequestError, match="score must be a finite number, got None"):
        fitted(TWO).probability(None)  # type: ignore[arg-type]


def test_it_survives_json_and_pickle() -> None:
    calibration = fitted(TWO)
    assert Calibration.from_dict(json.loads(json.dumps(calibration.to_dict()))) == calibration
    assert pickle.loads(pickle.dumps(calibration)) == calibration
    kendra = fitted(TWO, provider="kendra", model=None)
    assert Calibration.from_dict(json.loads(json.dumps(kendra.to_dict()))).threshold() == kendra.threshold()
    assert kendra.threshold().model is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"slope": -1.0}, "slope must be above 0"),
        ({"slope": 0}, "slope must be above 0"),
        ({"slope": "1"}, "slope must be a finite number, got '1'"),
        ({"intercept": None}, "intercept must be a finite number"),
        ({"pairs": 2.5}, "pairs must be a whole number"),
        ({"wrong": 11}, "wrong must be a whole number from 0 to 10"),
        ({"provider": ""}, "provider and model must be as a response says"),
        ({"model": 7}, "provider and model must be as a response says"),
        ({"extra": 1}, "a calibration has exactly intercept, log_loss, model"),
    ],
)
def test_a_dictionary_that_is_none_of_a_calibration_is_refused(change: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidRequestError, match=told):
        Calibration.from_dict({**fitted(TWO).to_dict(), **change})


def test_a_list_is_no_calibration() -> None:
    with pytest.raises(InvalidRequestError, match="a calibration has exactly"):
        Calibration.from_dict([1])  # type: ignore[arg-type]


def test_a_threshold_is_the_mean_of_borderline_scores() -> None:
    threshold = Threshold.from_borderline([0.2, 0.4, 0.6], provider="cohere", model="rerank-v3.5")
    assert (threshold.provider, threshold.model) == ("cohere", "rerank-v3.5")
    assert threshold.value == pytest.approx(0.4)
    with pytest.raises(InvalidRequestError, match="scores is empty: pass those of just relevant documents"):
        Threshold.from_borderline([], provider="cohere")
    with pytest.raises(InvalidRequestError, match=r"scores\[1\] must be a finite number, got None"):
        Threshold.from_borderline([0.1, None], provider="cohere")  # type: ignore[list-item]


@pytest.mark.parametrize("wrong", [("0.3", "cohere", None), (math.inf, "cohere", None), (0.3, "", None), (0.3, "cohere", "")])
def test_a_threshold_is_checked_when_it_is_made(wrong: Any) -> None:
    with pytest.raises(InvalidRequestError, match="must be"):
        Threshold(*wrong)


def test_a_threshold_refuses_another_model() -> None:
    Threshold(0.3, "kendra").check("kendra", None)
    with pytest.raises(InvalidRequestError, match=r"0.3 was found for pinecone:cohere-rerank-3.5, but pinecone:other served"):
        Threshold(0.3, "pinecone", "cohere-rerank-3.5").check("pinecone", "other")


QUERIES = ("one", "two", "three")
PAIRS = [(query, text, "good" in text) for query in QUERIES for text in ("good", "better good", "bad", "worse bad")]
BY_TEXT = {"good": 0.7, "better good": 0.9, "bad": 0.3, "worse bad": 0.1}


def test_pairs_are_measured_in_one_call_for_each_query(colour: str) -> None:
    fake = FakeReranker(BY_TEXT)
    calibration = run(colour, Measuring(), "measure", fake, PAIRS)
    assert sorted((call.query, call.texts) for call in fake.calls) == sorted((query, tuple(BY_TEXT)) for query in QUERIES)
    assert all(call.top_n is None for call in fake.calls)
    assert calibration == fitted([(BY_TEXT[text], label) for _, text, label in PAIRS], provider="fake", model="fake")


class Measuring:
    """The two ways to measure, for `run`."""

    measure = Calibration.measure
    ameasure = Calibration.ameasure


def test_pairs_without_a_score_are_left_out(colour: str) -> None:
    calibration = run(colour, Measuring(), "measure", FakeReranker(BY_TEXT), [*PAIRS, ("one", " ", False)])
    assert calibration.pairs == len(PAIRS)


def test_a_call_has_its_own_time_from_when_its_turn_comes(colour: str) -> None:
    fake = FakeReranker(BY_TEXT, latency=0.05, timeout=0.4)
    pairs = [(f"q{place}", text, label) for place, (_, text, label) in enumerate(PAIRS)]
    assert run(colour, Measuring(), "measure", fake, pairs, concurrency=1).pairs == 12
    assert [call.timeout for call in fake.calls] == [0.4] * 12


def test_an_outage_ends_the_measuring(colour: str) -> None:
    fake = FakeReranker(BY_TEXT)
    fake.fail(ServerError("no"), times=3)
    with pytest.raises(ServerError, match="no"):
        run(colour, Measuring(), "measure", fake, PAIRS)


def test_a_substitutes_scores_are_not_learned_from(colour: str) -> None:
    broken = FakeReranker()
    broken.fail(ServerError("no"))
    with pytest.raises(InvalidRequestError, match="an answer was degraded.*measure with that one alone"):
        run(colour, Measuring(), "measure", Fallback(broken, FakeReranker(BY_TEXT)), PAIRS)


def test_a_model_that_changes_on_the_way_is_refused(colour: str) -> None:
    served: list[str] = []

    def answer(request: Received) -> Reply:
        served.append("cohere-rerank-3.5" if len(served) < 2 else "cohere-rerank-4-fast")
        results = [(place, 0.5 - place / 10) for place in range(len(request.json["documents"]))]
        return Reply({"model": served[-1], **PINECONE.answer(results)})

    with recorder(answer) as recorded, Client(PINECONE.make(recorded.url)) as client:
        with pytest.raises(InvalidRequestError, match="pinecone:cohere-rerank-3.5 and pinecone:cohere-rerank-4-fast served"):
            run(colour, Measuring(), "measure", client, PAIRS, concurrency=1)


def test_measured_through_a_service_it_is_for_the_model_that_served(colour: str) -> None:
    with recorder(COHERE.scored(lambda _, text: BY_TEXT[text])) as served, Client(COHERE.make(served.url)) as client:
        calibration = run(colour, Measuring(), "measure", client, PAIRS)
    assert len(served.requests) == 3
    assert all(COHERE.texts(request.json) == list(BY_TEXT) for request in served.requests)
    threshold = calibration.threshold()
    assert (threshold.provider, threshold.model) == ("cohere", "rerank-v3.5")
    assert 0.3 < threshold.value < 0.7


@pytest.mark.parametrize(
    ("judged", "told"),
    [
        ([], "got 0, 0 of them relevant"),
        (PAIRS[:9], "got 9, 5 of them relevant"),
        ([*PAIRS, ("one", "text")], r"judged\[12\] must be a query, a document and whether it is relevant"),
        ([*PAIRS, ("one", "text", 1)], r"judged\[12\]\[2\] must be True or False"),
        ([*PAIRS, (" ", "text", True)], "query is blank"),
        ([*PAIRS, ("one", 7, True)], "is int, no text"),
    ],
)
def test_pairs_that_are_none_are_refused_before_anything_is_sent(judged: Any, told: str, colour: str) -> None:
    fake = FakeReranker(BY_TEXT)
    with pytest.raises(InvalidRequestError, match=told):
        run(colour, Measuring(), "measure", fake, judged)
    with pytest.raises(InvalidRequestError, match="concurrency must be"):
        run(colour, Measuring(), "measure", fake, PAIRS, concurrency=0)
    assert fake.calls == []
