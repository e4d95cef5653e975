"""Documents too long for a model are ranked by their passages, and come back whole."""

from __future__ import annotations

import copy
import pickle
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.properties import any_text, tries
from helpers.server import recorder
from helpers.services import COHERE, KENDRA, PINECONE, Service
from helpers.ways import run
from rerankkit import (
    Client,
    DeadlineExceededError,
    Document,
    InvalidRequestError,
    RateLimitError,
    Span,
    Usage,
)
from rerankkit.emulator import Emulator
from rerankkit.money import Estimate
from rerankkit.resilience.fallback import Fallback
from rerankkit.resilience.passthrough import Passthrough
from rerankkit.resilience.windowed import Windowed
from rerankkit.testing import FakeReranker

LONG = "one two three four five six seven"
PARTS = ["one two three ", "three four five ", "five six seven"]
SCORES = {"one two three ": 0.2, "three four five ": 0.9, "five six seven": 0.4, "short": 0.5, "other": 0.8}


def words(text: str) -> int:
    """A tokenizer."""
    return len(text.split())


def windowed(scores: Any = None, **options: Any) -> tuple[Windowed, FakeReranker]:
    fake = FakeReranker(SCORES if scores is None else scores)
    return Windowed(fake, **{"tokens": 3, "overlap": 1, "tokenizer": words, **options}), fake


def ranking(response: Any) -> list[tuple[int, Any]]:
    return [(result.index, result.relevance_score) for result in response]


def test_a_long_document_is_sent_in_windows_and_has_the_score_of_its_best(colour: str) -> None:
    reranker, fake = windowed()
    response = run(colour, reranker, "rerank", "q", ["short", LONG, "other"])
    assert ranking(response) == [(1, 0.9), (2, 0.8), (0, 0.5)]
    assert [result.spans for result in response] == [(Span(8, 24, 0.9),), (), ()]
    assert LONG[8:24] == "three four five "
    assert response.documents == [LONG, "other", "short"]
    assert [sorted(call.texts) for call in fake.calls] == [sorted(["short", "other", *PARTS])]
    assert response.warnings == ("documents of more than 3 tokens, which were ranked by 3 windows: 1",)


def test_the_first_windows_of_all_go_before_the_second_ones(colour: str) -> None:
    reranker, fake = windowed()
    run(colour, reranker, "rerank", "q", [LONG, "short", "a b c d"])
    assert fake.calls[0].texts == (PARTS[0], "short", "a b c ", PARTS[1], "c d", PARTS[2])


@pytest.mark.parametrize(
    ("options", "score", "spans"),
    [
        ({"aggregate": "mean"}, (0.2 + 0.9 + 0.4) / 3, [(8, 24), (19, 33), (0, 14)]),
        ({"aggregate": "mean", "best": 2}, (0.9 + 0.4) / 2, [(8, 24), (19, 33)]),
        ({"aggregate": "mean", "best": 9}, (0.2 + 0.9 + 0.4) / 3, [(8, 24), (19, 33), (0, 14)]),
        ({"aggregate": "max", "best": 2}, 0.9, [(8, 24)]),
        ({"aggregate": "first"}, 0.2, [(0, 14)]),
        ({"on_long": "truncate"}, 0.2, [(0, 14)]),
    ],
)
def test_scores_are_aggregated_as_by_hand(options: dict[str, Any], score: float, spans: list[Any], colour: str) -> None:
    reranker, _ = windowed(**options)
    (result,) = run(colour, reranker, "rerank", "q", [LONG])
    assert result.relevance_score == pytest.approx(score, rel=1e-12)
    assert [(span.start, span.end) for span in result.spans] == spans
    assert [span.score for span in result.spans] == [SCORES[LONG[start:end]] for start, end in spans]


@pytest.mark.parametrize(
    ("options", "told"),
    [({"aggregate": "first"}, "ranked by their first windows: 1"), ({"on_long": "truncate"}, "cut to their beginnings: 1")],
)
def test_where_the_first_window_counts_no_other_is_sent_and_top_n_is(options: Any, told: str, colour: str) -> None:
    reranker, fake = windowed(**options)
    response = run(colour, reranker, "rerank", "q", ["short", LONG], top_n=1)
    assert ranking(response) == [(0, 0.5)]
    assert (fake.calls[0].texts, fake.calls[0].top_n) == (("short", PARTS[0]), 1)
    assert response.warnings == (f"documents of more than 3 tokens, which were {told}",)


def test_a_call_without_long_documents_goes_through_as_it_is(colour: str) -> None:
    reranker, fake = windowed()
    documents = ["short", {"text": "other"}, Document("two words")]
    response = run(colour, reranker, "rerank", "q", documents, top_n=2)
    assert ranking(response) == [(1, 0.8), (0, 0.5)]
    assert fake.calls[0].top_n == 2
    assert all(sent is given for sent, given in zip(fake.calls[0].documents, documents, strict=True))
    assert response.warnings == ()
    assert all(result.document is documents[result.index] for result in response)


def test_top_n_counts_documents_and_not_windows(colour: str) -> None:
    reranker, fake = windowed(lambda _, text: 1.0 if text in PARTS else 0.5)
    response = run(colour, reranker, "rerank", "q", ["short", LONG, "other"], top_n=2)
    assert ranking(response) == [(1, 1.0), (0, 0.5)]
    assert fake.calls[0].top_n is None


def test_too_long_is_an_error_where_that_is_asked_for(colour: str) -> None:
    reranker, fake = windowed(on_long="error")
    with pytest.raises(InvalidRequestError, match=r"documents\[1\] has about 7 tokens, more than the 3 .* raise tokens="):
        run(colour, reranker, "rerank", "q", ["short", LONG])
    assert fake.calls == []


def test_without_a_tokenizer_three_bytes_are_a_token(colour: str) -> None:
    fake = FakeReranker()
    reranker = Windowed(fake, tokens=5, overlap=2)
    run(colour, reranker, "rerank", "q", ["abcd efgh ijkl", "猫は犬より小さい", "abcd efgh ijkl m"])
    assert fake.calls[0].texts == ("abcd efgh ijkl", "猫は犬よ", "abcd efgh ", "より小さ", "efgh ijkl m", "さい")


def test_equal_documents_keep_the_given_order_whatever_their_length(colour: str) -> None:
    for options in ({}, {"aggregate": "mean"}):
        reranker, _ = windowed(lambda *_: 0.1, **options)
        response = run(colour, reranker, "rerank", "q", ["short", LONG, "other", LONG, LONG])
        assert ranking(response) == [(index, 0.1) for index in range(5)]
        assert response[1].spans[0] == Span(0, 14, 0.1)


def test_a_structured_document_is_cut_in_its_text_and_keeps_the_rest_in_every_window(colour: str) -> None:
    reranker, fake = windowed()
    documents = [
        Document(LONG, title="t", id="x", score=2.5),
        {"text": LONG, "page": 7},
        Document(fields={"text": LONG, "lang": "en"}),
        Document(LONG, fields={"lang": "en"}),
    ]
    response = run(colour, reranker, "rerank", "q", documents)
    sent = fake.calls[0].documents
    assert len(sent) == 12
    assert sent[0] == Document(PARTS[0], title="t", id="x", score=2.5)
    assert [sent[place].fields for place in (1, 2, 3)] == [
        {"text": PARTS[0], "page": 7},
        {"text": PARTS[0], "lang": "en"},
        {"lang": "en"},
    ]
    assert fake.calls[0].texts == tuple(part for part in PARTS for _ in range(4))
    assert documents[1] == {"text": LONG, "page": 7}
    assert all(result.document is documents[result.index] for result in response)


def test_a_document_of_a_group_or_of_tokens_is_left_whole_and_that_is_told(colour: str) -> None:
    reranker, fake = windowed()
    documents = [Document(LONG, group_id="g"), Document(LONG, tokenized_body=["one"]), Document("short", group_id="g")]
    response = run(colour, reranker, "rerank", "q", documents)
    assert fake.calls[0].texts == (LONG, LONG, "short")
    told = "documents of more than 3 tokens with a group_id or a tokenized_body, left whole: 2"
    assert response.warnings == (told,)


def test_a_text_that_is_none_is_left_to_the_service(colour: str) -> None:
    reranker, _ = windowed()
    with pytest.raises(InvalidRequestError, match=r"documents\[0\] has no 'text'"):
        run(colour, reranker, "rerank", "q", [{"title": "only"}])


def test_an_empty_list_and_blank_documents_are_as_ever(colour: str) -> None:
    reranker, _ = windowed()
    assert len(run(colour, reranker, "rerank", "q", [])) == 0
    response = run(colour, reranker, "rerank", "q", ["", LONG, " "])
    assert [(result.index, result.skipped) for result in response] == [(1, None), (0, "blank"), (2, "blank")]


def test_a_document_none_of_whose_windows_is_scored_says_why_and_comes_last(colour: str) -> None:
    reranker = Windowed(FakeReranker(), tokens=4, overlap=0)
    response = run(colour, reranker, "rerank", "q", [" " * 50, "short"])
    assert [(result.index, result.skipped, result.spans) for result in response] == [(1, None, ()), (0, "blank", ())]


def test_a_window_without_a_score_does_not_count(colour: str) -> None:
    reranker = Windowed(FakeReranker(lambda _, text: -1.0), tokens=4, overlap=0, aggregate="mean")
    (result,) = run(colour, reranker, "rerank", "q", [" " * 30 + "short word"])
    assert result.relevance_score == -1.0


def test_if_nobody_ranks_the_documents_come_back_as_given_and_whole(colour: str) -> None:
    broken = FakeReranker()
    broken.fail(RateLimitError("not now"))
    reranker = Windowed(Fallback(broken, Passthrough()), tokens=3, overlap=1, tokenizer=words)
    response = run(colour, reranker, "rerank", "q", ["short", LONG, "other"], top_n=2)
    assert [(result.index, result.document, result.skipped) for result in response] == [
        (0, "short", "not_ranked"),
        (1, LONG, "not_ranked"),
    ]
    assert response.status == "degraded"
    assert [attempt.outcome for attempt in response.attempts] == ["failed", "served"]


def test_an_error_goes_through_as_it_is(colour: str) -> None:
    reranker, fake = windowed()
    fake.fail(RateLimitError("not now"))
    with pytest.raises(RateLimitError, match="not now"):
        run(colour, reranker, "rerank", "q", [LONG])


def test_what_else_the_answer_says_is_kept(colour: str) -> None:
    class Answering(FakeReranker):
        async def _rerank(self, io: Any, request: Any) -> Any:
            found = await super()._rerank(io, request)
            return replace(found, cost=0.5, usage=Usage(2, search_units=3.0), request_ids=("r",), warnings=("told",))

    response = run(colour, Windowed(Answering(), tokens=3, overlap=1, tokenizer=words), "rerank", "q", [LONG, "short"])
    assert (response.cost, response.usage, response.request_ids) == (0.5, Usage(2, search_units=3.0), ("r",))
    assert (response.provider, response.model) == ("fake", "fake")
    assert response.warnings[1:] == ("told",)


class Spanning(FakeReranker):
    """Reports the letters "e" of each text, as if a service had found them."""

    async def _rerank(self, io: Any, request: Any) -> Any:
        found = await super()._rerank(io, request)
        texts = [item if isinstance(item, str) else item.text for item in request.items]
        return replace(found, results=tuple(replace(result, spans=_letters(texts[result.index])) for result in found))


def _letters(text: str) -> tuple[Span, ...]:
    return tuple(Span(place, place + 1, 1.0 / (place + 1)) for place, letter in enumerate(text) if letter == "e")


@pytest.mark.parametrize("document", [LONG, Document(LONG, id="x")])
def test_spans_of_the_service_are_told_as_they_lie_in_the_whole_text(document: Any, colour: str) -> None:
    options = {"tokens": 3, "overlap": 1, "tokenizer": words}
    (best,) = run(colour, Windowed(Spanning(SCORES), **options), "rerank", "q", [document])
    assert [(span.start, span.end) for span in best.spans] == [(11, 12), (12, 13), (22, 23)]
    assert {LONG[span.start : span.end] for span in best.spans} == {"e"}
    assert [span.score for span in best.spans] == [1 / 4, 1 / 5, 1 / 15]
    (mean,) = run(colour, Windowed(Spanning(SCORES), aggregate="mean", **options), "rerank", "q", [document])
    assert {LONG[span.start : span.end] for span in mean.spans} == {"e"}
    assert [span.score for span in mean.spans] == sorted((span.score for span in mean.spans), reverse=True)
    assert len(mean.spans) == len(set(mean.spans))


def test_spans_of_the_service_in_more_than_the_text_give_way_to_the_window(colour: str) -> None:
    """With `rank_fields`, what was sent is YAML, whose places are none of the text's."""
    reranker = Windowed(Spanning(SCORES), tokens=3, overlap=1, tokenizer=words)
    for document in ({"text": LONG, "page": 1}, Document(LONG, title="t")):
        (result,) = run(colour, reranker, "rerank", "q", [document])
        assert result.spans == (Span(8, 24, 0.9),)


def test_spans_of_short_documents_stay_as_they_are(colour: str) -> None:
    reranker = Windowed(Spanning(SCORES), tokens=3, overlap=1, tokenizer=words)
    response = run(colour, reranker, "rerank", "q", [LONG, "other"])
    assert response[1].spans == (Span(3, 4, 0.25),)


@tries(80)
@given(st.lists(any_text, min_size=1, max_size=5), st.integers(2, 12), st.integers(1, 6))
def test_every_document_comes_back_once_best_first_with_the_best_of_its_windows(
    texts: list[str], tokens: int, top_n: int
) -> None:
    def score(_: str, text: str) -> float:
        return sum(map(ord, text)) % 7 / 7

    fake = FakeReranker(score)
    response = Windowed(fake, tokens=tokens, overlap=tokens // 3).rerank("q", texts)
    assert sorted(result.index for result in response) == list(range(len(texts)))
    scores = [-1.0 if result.relevance_score is None else result.relevance_score for result in response]
    assert scores == sorted(scores, reverse=True)
    for result in response:
        assert result.document is texts[result.index]
        for span in result.spans:
            assert span.score == result.relevance_score == score("q", texts[result.index][span.start : span.end])
    assert (
        Windowed(fake, tokens=tokens, overlap=tokens // 3).rerank("q", texts, top_n=top_n).results == response.results[:top_n]
    )


def test_each_service_is_sent_the_windows_in_one_request(service: Service, colour: str) -> None:
    text = "the ferry leaves at nine and the bus at ten and dogs may not enter the tower at all"

    def score(query: str, part: str) -> float:
        return float(len(set(query.split()) & set(part.split())))

    with recorder(service.scored(score)) as served, Client(service.make(served.url)) as client:
        reranker = Windowed(client, tokens=6, overlap=2, tokenizer=words)
        response = run(colour, reranker, "rerank", "dogs tower", ["dogs", text, "tower dogs"], top_n=2)
    (sent,) = [service.texts(request.json) for request in served.requests]
    assert [part.strip() for part in sent] == [
        "dogs",
        "the ferry leaves at nine and",
        "tower dogs",
        "nine and the bus at ten",
        "at ten and dogs may not",
        "may not enter the tower at",
        "tower at all",
    ]
    assert [served.requests[0].json.get(name) for name in ("top_n", "top_k")] == [None, None]
    assert ranking(response) == [(2, 2.0), (0, 1.0)]


def test_windows_beyond_the_limit_of_a_service_that_scores_each_document_are_batched_and_merged(colour: str) -> None:
    with recorder(PINECONE.scored(lambda _, text: float("9" in text))) as served, Client(PINECONE.make(served.url)) as client:
        text = " ".join(f"w{number}" for number in range(300))
        (result,) = run(colour, Windowed(client, tokens=2, overlap=0, tokenizer=words), "rerank", "q", [text])
    assert len(served.requests) == 2
    assert result.relevance_score == 1.0
    assert text[slice(result.spans[0].start, result.spans[0].end)] == "w8 w9 "


def test_of_windows_beyond_kendras_limit_the_rear_ones_are_left_out(colour: str) -> None:
    long = " ".join(f"w{number}" for number in range(30))
    with recorder(KENDRA.scored(lambda _, text: float(len(text)))) as served, Client(KENDRA.make(served.url)) as client:
        response = run(colour, Windowed(client, tokens=2, overlap=0, tokenizer=words), "rerank", "q", [long] * 20)
    assert len(KENDRA.texts(served.requests[0].json)) == 25
    assert [result.skipped for result in response] == [None] * 20
    assert response.warnings == (
        "documents of more than 2 tokens, which were ranked by 300 windows: 20",
        "documents beyond the first 25, which were not ranked and follow in their order: 275",
    )


def test_coheres_spans_lie_in_the_whole_text(emulator: Emulator, colour: str) -> None:
    text = "Adults pay nine. " * 20 + "Dogs may not enter the tower. " + "The bus leaves at ten. " * 20
    provider = COHERE.make(emulator.urls["cohere"], model="rerank-v5.0-fast", relevant_spans=True)
    with Client(provider) as client:
        response = run(colour, Windowed(client, tokens=40, overlap=10), "rerank", "May dogs enter the tower?", ["cats", text])
    assert response[0].index == 1
    span = response[0].spans[0]
    assert text[span.start : span.end] == "Dogs may not enter the tower."


def test_its_estimate_is_that_of_the_windows() -> None:
    class Counting(FakeReranker):
        def _estimate(self, request: Any) -> Estimate:
            return Estimate(Usage(1, search_units=float(len(request.items))), 0.5)

    reranker = Windowed(Counting(), tokens=3, overlap=1, tokenizer=words)
    assert reranker.estimate("q", ["short", LONG]) == Estimate(Usage(1, search_units=4.0), 0.5)
    assert reranker.estimate("q", ["short"]) == Estimate(Usage(1, search_units=1.0), 0.5)
    assert reranker.label == "fake:fake"


def test_a_tokenizer_that_takes_its_time_ends_with_the_deadline(colour: str) -> None:
    reranker, fake = windowed(tokenizer=lambda _: time.sleep(1.0) or 1)
    with pytest.raises(DeadlineExceededError, match=r"tokenizer had not counted all documents within 0.2 s"):
        run(colour, reranker, "rerank", "q", [LONG], timeout=0.2)
    assert fake.calls == []


def test_a_tokenizers_own_error_is_the_callers(colour: str) -> None:
    def broken(text: str) -> int:
        raise LookupError("no vocabulary")

    reranker, _ = windowed(tokenizer=broken)
    with pytest.raises(LookupError, match="no vocabulary"):
        run(colour, reranker, "rerank", "q", [LONG])


@pytest.mark.parametrize("wrong", [None, -1, 2.0, True, [1, 2], float("nan")])
def test_a_tokenizer_that_gives_no_number_is_refused(wrong: Any, colour: str) -> None:
    reranker, fake = windowed(tokenizer=lambda _: wrong)
    with pytest.raises(InvalidRequestError, match=r"tokenizer must give a number of tokens, got .*len\(encode\(text\)\)"):
        run(colour, reranker, "rerank", "q", [LONG])
    assert fake.calls == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"tokens": 1}, "tokens must be a whole number at least 2"),
        ({"tokens": 2.5}, "tokens must be"),
        ({"overlap": -1}, "overlap must be a whole number from 0 to 256"),
        ({"overlap": 257}, "at most half of tokens"),
        ({"tokens": 100}, "overlap must be a whole number from 0 to 50, got 64; at most half of tokens"),
        ({"on_long": "cut"}, "on_long must be one of 'windows', 'truncate', 'error'"),
        ({"aggregate": "sum"}, "aggregate must be one of 'max', 'first', 'mean'"),
        ({"best": 0}, "best must be a whole number at least 1"),
        ({"tokenizer": "cl100k"}, "tokenizer must be a function"),
        ({"timeout": -1}, "timeout must be"),
    ],
)
def test_what_is_out_of_range_is_refused_when_it_is_made(options: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidRequestError, match=told):
        Windowed(FakeReranker(), **options)


def test_it_is_copied_and_pickled_by_its_arguments() -> None:
    reranker = Windowed(Passthrough(), tokens=3, overlap=1, aggregate="mean", best=2, tokenizer=words, timeout=7.0)
    for again in (pickle.loads(pickle.dumps(reranker)), copy.deepcopy(reranker)):
        assert repr(again) == repr(reranker)
        assert again.arguments()["tokenizer"] is words
        assert again.timeout == 7.0
    assert repr(Windowed(Passthrough(), tokens=600)) == "Windowed(Passthrough(), tokens=600)"
