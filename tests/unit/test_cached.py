"""What was scored before is not scored again, and nobody sees a difference but in time and money."""

from __future__ import annotations

import copy
import pickle
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.caches import FailOpen, Scorer, by_text, shape
from helpers.patience import PATIENCE
from helpers.properties import tries
from helpers.services import COHERE, KENDRA, PINECONE, VOYAGE
from helpers.ways import run
from rerankkit import BM25, Client, Document, InvalidRequestError, RerankResponse, ServerError, Span
from rerankkit._degrading import Notices, in_given_order
from rerankkit.identity import CacheIdentity
from rerankkit.money import Estimate
from rerankkit.resilience import Fallback, Passthrough
from rerankkit.resilience import cached as caching
from rerankkit.resilience._caching import tiers
from rerankkit.resilience.cached import Cached
from rerankkit.resilience.stores import MemoryStore
from rerankkit.resilience.wrapper import Wrapper
from rerankkit.testing import FakeReranker
from rerankkit.types import CacheUse, RankedDocument

TEXTS = ["a ferry", "a car", "a bus", "a train"]


@pytest.fixture(autouse=True)
def _new_notices(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (tiers, caching):
        monkeypatch.setattr(module, "NOTICES", Notices())


# Pairs


def test_a_call_that_is_repeated_sends_nothing(colour: str) -> None:
    service = Scorer(price=0.5)
    cached = Cached(service)
    first = run(colour, cached, "rerank", "q", TEXTS)
    again = run(colour, cached, "rerank", "q", TEXTS)
    assert len(service.calls) == 1
    assert shape(again) == shape(first) == shape(FakeReranker(by_text).rerank("q", TEXTS))
    assert (first.cache, first.cost, first.usage.requests) == (CacheUse(0, 4, 0.0), 2.0, 1)
    assert (again.cache, again.cost, again.usage.requests) == (CacheUse(4, 0, 2.0), 0.0, 0)
    assert [turn.reranker for turn in first.attempts] == ["fake:fake"]
    assert (again.attempts, again.request_ids) == ((), ())


def test_of_a_call_that_is_half_new_the_new_half_is_sent(colour: str) -> None:
    service = Scorer(price=0.5)
    cached = Cached(service)
    run(colour, cached, "rerank", "q", TEXTS)
    texts = ["new 1", TEXTS[3], "new 2", TEXTS[0], TEXTS[1], "new 3", TEXTS[2], "new 4"]
    response = run(colour, cached, "rerank", "q", texts, top_n=5)
    assert service.sent[1:] == [["new 1", "new 2", "new 3", "new 4"]]
    assert service.calls[1].top_n is None
    assert shape(response) == shape(FakeReranker(by_text).rerank("q", texts, top_n=5))
    assert (response.cache, response.cost) == (CacheUse(4, 4, 2.0), 2.0)
    assert all(result.document is texts[result.index] for result in response)


def test_another_query_is_another_pair(colour: str) -> None:
    service = Scorer()
    cached = Cached(service)
    for query in ("q", "Q", "q", "q "):
        run(colour, cached, "rerank", query, ["a"])
    assert [call.query for call in service.calls] == ["q", "Q", "q "]


def test_copies_of_a_text_are_sent_once_and_all_have_its_score(colour: str) -> None:
    service = Scorer({"b": 2.0, "a": 1.0})
    response = run(colour, Cached(service), "rerank", "q", ["a", "b", Document("a", id="1"), {"text": "b", "page": 7}, "a"])
    assert service.sent == [["a", "b"]]
    assert [(result.index, result.relevance_score) for result in response] == [(1, 2.0), (3, 2.0), (0, 1.0), (2, 1.0), (4, 1.0)]
    assert response.results[1].document == {"text": "b", "page": 7}
    assert response.cache == CacheUse(3, 2)


def test_scores_from_several_calls_are_ordered_like_those_of_one(colour: str) -> None:
    """Equal ones by their place in the caller's list, whichever came first."""
    cached = Cached(Scorer({"a": 1.0, "b": 1.0, "c": 1.0, "d": 2.0}))
    run(colour, cached, "rerank", "q", ["c"])
    run(colour, cached, "rerank", "q", ["a"])
    response = run(colour, cached, "rerank", "q", ["b", "a", "d", "c"])
    assert [result.index for result in response] == [2, 0, 1, 3]


@pytest.mark.parametrize("error", [InvalidRequestError("it ranks poems only"), ValueError("a tokenizer of somebody's")])
def test_an_estimate_that_cannot_be_made_does_not_cost_the_answer(error: Exception, colour: str) -> None:
    class Picky(Scorer):
        def _estimate(self, request: Any) -> Estimate:
            raise error

    cached = Cached(Picky())
    for _ in range(2):
        response = run(colour, cached, "rerank", "q", ["a"])
    assert response.cache == CacheUse(1, 0, None)


def test_blank_documents_are_neither_sent_nor_counted(colour: str) -> None:
    service = Scorer()
    cached = Cached(service)
    for _ in range(2):
        response = run(colour, cached, "rerank", "q", ["", "a", " "])
        assert [(result.index, result.skipped) for result in response] == [(1, None), (0, "blank"), (2, "blank")]
    assert service.sent == [["a"]]
    assert response.cache == CacheUse(1, 0)


@pytest.mark.parametrize("texts", [[], ["", "\n"]])
def test_a_call_with_nothing_to_rank_is_the_rerankers_business(texts: list[str], colour: str) -> None:
    service = Scorer()
    response = run(colour, Cached(service), "rerank", "q", texts)
    assert [result.skipped for result in response] == ["blank"] * len(texts)
    assert (len(service.calls), response.cache) == (1, CacheUse(0, 0, 0.0))


def test_a_wrong_document_is_refused_at_its_own_place(colour: str) -> None:
    service = Scorer()
    cached = Cached(service)
    run(colour, cached, "rerank", "q", ["a"])
    with pytest.raises(InvalidRequestError, match=r"documents\[1\] has no 'text'"):
        run(colour, cached, "rerank", "q", ["a", {"title": "x"}])


class Spanned(Scorer):
    """Tells the passage that it found, and has no score for "?"."""

    async def _rerank(self, io: Any, request: Any) -> RerankResponse[Any]:
        response = await super()._rerank(io, request)
        results = [replace(result, spans=(Span(0, len(result.document), 0.25),)) for result in response]
        told = [replace(r, relevance_score=None, skipped="no_score", spans=()) if r.document == "?" else r for r in results]
        return replace(response, results=tuple(told))


def test_spans_are_kept_and_a_missing_score_is_not(colour: str) -> None:
    service = Spanned({"abc": 0.1, "de": 0.2})
    cached = Cached(service)
    for _ in range(2):
        response = run(colour, cached, "rerank", "q", ["?", "abc", "de"])
        assert [result.spans for result in response] == [(Span(0, 2, 0.25),), (Span(0, 3, 0.25),), ()]
        assert response.results[2].skipped == "no_score"
    assert service.sent == [["?", "abc", "de"], ["?"]]


def test_scores_of_another_model_than_before_are_not_mixed_with_its(colour: str) -> None:
    service = Scorer({"a": 1.0, "b": 2.0, "c": 3.0}, served="one")
    cached = Cached(service)
    run(colour, cached, "rerank", "q", ["a", "b"])
    service.served, service.scores = "two", {"a": 30.0, "b": 20.0, "c": 10.0}
    response = run(colour, cached, "rerank", "q", ["a", "b", "c"])
    assert service.sent[1:] == [["c"], ["a", "b"]]
    assert [result.relevance_score for result in response] == [30.0, 20.0, 10.0]
    assert (response.model, response.cache, response.usage.requests) == ("two", CacheUse(0, 3, 0.0), 2)
    assert response.warnings == ("asked for fake, served by two: scores and thresholds may differ",)
    again = run(colour, cached, "rerank", "q", ["c", "a", "b"])
    assert (again.model, again.warnings, again.cache) == ("two", response.warnings, CacheUse(3, 0))


def test_kept_scores_of_two_models_are_brought_to_one(colour: str) -> None:
    service = Scorer(served="one")
    cached = Cached(service)
    run(colour, cached, "rerank", "q", ["a", "b"])
    service.served = "two"
    run(colour, cached, "rerank", "q", ["c"])
    response = run(colour, cached, "rerank", "q", ["a", "c", "b"])
    assert (response.model, service.sent[2:]) == ("two", [["c"], ["a", "b"]])


def test_a_service_that_flutters_between_models_is_asked_for_all_at_once(colour: str) -> None:
    class Fluttering(Scorer):
        async def _rerank(self, io: Any, request: Any) -> RerankResponse[Any]:
            return replace(await super()._rerank(io, request), model=f"model {len(self.calls)}")

    service = Fluttering()
    cached = Cached(service)
    run(colour, cached, "rerank", "q", ["a", "b"])
    response = run(colour, cached, "rerank", "q", ["a", "b", "c"])
    assert service.sent[-1] == ["a", "b", "c"]
    assert response.model == f"model {len(service.calls)}"
    assert len(service.calls) <= 5


# Lists


def test_of_a_listwise_reranker_the_whole_list_is_kept(colour: str) -> None:
    service = FakeReranker()
    cached = Cached(service)
    first = run(colour, cached, "rerank", "q", TEXTS, top_n=2)
    again = run(colour, cached, "rerank", "q", TEXTS)
    assert (len(first), len(again), len(service.calls)) == (2, 4, 1)
    assert shape(again) == shape(FakeReranker().rerank("q", TEXTS))
    assert (first.cache, again.cache) == (CacheUse(0, 4, 0.0), CacheUse(4, 0))
    for other in (TEXTS[::-1], TEXTS[:3], [*TEXTS, ""]):
        run(colour, cached, "rerank", "q", other)
    assert len(service.calls) == 4


def test_all_that_a_listwise_reranker_may_look_at_makes_another_list_but_for_the_callers_id(colour: str) -> None:
    service = BM25()
    cached = Cached(service)

    def hits(document: Document) -> int:
        return run(colour, cached, "rerank", "q", ["x", document]).cache.hits

    assert hits(Document("a", id="1")) == 0
    assert hits(Document("a", id="2")) == 2
    for other in (Document("a", score=1.0), Document("a", title="t"), Document("a", fields={"text": "a"}), Document("b")):
        assert (hits(other), hits(other)) == (0, 2)


def test_a_list_that_cannot_be_written_down_goes_through_uncached(colour: str, caplog: pytest.LogCaptureFixture) -> None:
    cached = Cached(BM25())
    for _ in range(2):
        response = run(colour, cached, "rerank", "q", [{"text": "a", "handle": object()}])
        assert response.cache == CacheUse(0, 1, 0.0)
    assert caplog.text.count("went through uncached") == 1


def test_degraded_answers_of_a_chain_are_given_but_not_kept(colour: str) -> None:
    first, second = Scorer(), Scorer()
    cached = Cached(Fallback(first, second, Passthrough()))
    first.fail(ServerError("down"))
    degraded = run(colour, cached, "rerank", "q", TEXTS, top_n=3)
    assert (degraded.status, len(degraded), degraded.cache) == ("degraded", 3, CacheUse(0, 4, 0.0))
    assert [turn.outcome for turn in degraded.attempts] == ["failed", "served"]
    ok = run(colour, cached, "rerank", "q", TEXTS)
    again = run(colour, cached, "rerank", "q", TEXTS)
    assert (ok.status, ok.cache.hits, again.status, again.cache.hits) == ("ok", 0, "ok", 4)
    assert len(first.calls) == 2


# What is not the first choice's


def passed_through(request: Any) -> RerankResponse[Any]:
    return in_given_order(request)


def by_another(request: Any) -> RerankResponse[Any]:
    results = [RankedDocument(index, 100.0 - index, document) for index, document in enumerate(request.documents)]
    return RerankResponse(tuple(results), provider="another", status="degraded")


def test_in_an_outage_kept_scores_are_not_mixed_with_documents_that_have_none(colour: str) -> None:
    service = Scorer()
    cached = Cached(FailOpen(service, passed_through))
    run(colour, cached, "rerank", "q", ["a", "b"])
    service.fail(ConnectionError())
    response = run(colour, cached, "rerank", "q", ["c", "b", "a"], top_n=2)
    assert [(result.index, result.skipped) for result in response] == [(0, "not_ranked"), (1, "not_ranked")]
    assert (response.status, response.served_by, response.cache) == ("degraded", "passthrough", CacheUse(0, 1, 0.0))
    assert service.sent == [["a", "b"], ["c"]]
    healed = run(colour, cached, "rerank", "q", ["c", "b", "a"])
    assert (healed.status, healed.cache, service.sent[2:]) == ("ok", CacheUse(2, 1), [["c"]])


def test_scores_of_a_substitute_are_all_its_own(colour: str) -> None:
    service = Scorer()
    cached = Cached(FailOpen(service, by_another))
    run(colour, cached, "rerank", "q", ["a", "b"])
    service.fail(ConnectionError(), times=2)
    response = run(colour, cached, "rerank", "q", ["c", "b", "a"])
    assert [result.relevance_score for result in response] == [100.0, 99.0, 98.0]
    assert (response.status, response.served_by, response.cache.hits) == ("degraded", "another", 0)


def test_an_error_is_the_callers_and_nothing_is_kept(colour: str) -> None:
    service = Scorer()
    cached = Cached(service)
    service.fail(ServerError("down"))
    with pytest.raises(ServerError) as caught:
        run(colour, cached, "rerank", "q", ["a"])
    assert [turn.outcome for turn in caught.value.history] == ["failed"]
    assert len(cached._flights) == 0
    assert run(colour, cached, "rerank", "q", ["a"]).cache == CacheUse(0, 1, 0.0)


# Stores


class Plain:
    """A store of the user's own."""

    def __init__(self, held: Mapping[str, bytes] = {}) -> None:
        self.held = dict(held)
        self.asked: list[list[str]] = []
        self.error: Exception | None = None
        self.closed = 0

    def get_many(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        self.asked.append(list(keys))
        if self.error:
            raise self.error
        return {key: self.held[key] for key in keys if key in self.held}

    def set_many(self, items: Mapping[str, bytes]) -> None:
        if self.error:
            raise self.error
        self.held.update(items)

    def close(self) -> None:
        self.closed += 1


def test_what_a_later_store_has_is_put_into_those_before_it(colour: str) -> None:
    service, late = Scorer(), Plain()
    run(colour, Cached(service, late), "rerank", "q", ["a", "b"])
    early, middle = Plain(), Plain()
    cached = Cached(service, early, middle, late)
    response = run(colour, cached, "rerank", "q", ["a", "b", "c"])
    assert response.cache == CacheUse(2, 1)
    assert early.held == middle.held == late.held
    assert len(late.held) == 3
    assert [len(keys) for keys in late.asked] == [2, 3]
    run(colour, cached, "rerank", "q", ["a", "b", "c"])
    assert (len(late.asked), len(middle.asked), len(early.asked)) == (2, 1, 2)


def test_keys_and_values_are_plain_and_tell_nothing_of_texts() -> None:
    store = Plain()
    Cached(Scorer({"secret text": 0.25}), store).rerank("secret query", ["secret text"])
    ((key, value),) = store.held.items()
    assert len(key) == 40
    assert int(key, 16)
    assert value == b'["fake","fake",[[0,0.25,null]]]'


@pytest.mark.parametrize("error", [OSError("gone"), ValueError("odd"), TimeoutError()], ids=repr)
def test_a_store_that_fails_is_a_miss_and_is_told_once(
    error: Exception, colour: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, store = Scorer(), Plain()
    store.error = error
    cached = Cached(service, store)
    for _ in range(3):
        assert run(colour, cached, "rerank", "q", ["a"]).cache == CacheUse(0, 1, 0.0)
    assert len(store.asked) == 1  # after which it has a rest
    assert [record.levelname for record in caplog.records if "scores are not kept there" in record.message] == ["WARNING"]
    store.error = None
    monkeypatch.setattr(tiers, "REST_SECONDS", 0.0)
    cached._tiers._rest_ends = [0.0]
    run(colour, cached, "rerank", "q", ["a"])
    assert run(colour, cached, "rerank", "q", ["a"]).cache.hits == 1


def test_a_store_that_hangs_does_not_take_the_calls_time(colour: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiers, "MOST_SECONDS", 0.05)
    asked_for_scores = threading.Event()

    class Hanging(Plain):
        def get_many(self, keys: Sequence[str]) -> Mapping[str, bytes]:
            assert asked_for_scores.wait(PATIENCE)
            return {}

    service = Scorer(lambda query, text: float(asked_for_scores.set() is None))
    assert run(colour, Cached(service, Hanging()), "rerank", "q", ["a"]).cache.misses == 1


def test_a_store_that_is_too_slow_for_a_call_in_a_hurry_serves_the_others(colour: str) -> None:
    class Slow(Plain):
        def get_many(self, keys: Sequence[str]) -> Mapping[str, bytes]:
            time.sleep(0.1)
            return super().get_many(keys)

    cached = Cached(Scorer(), Slow())
    run(colour, cached, "rerank", "q", ["a"])
    for _ in range(2):
        assert run(colour, cached, "rerank", "q", ["a"], timeout=0.2).cache.misses == 1
        assert run(colour, cached, "rerank", "q", ["a"]).cache.hits == 1


JUNK = [
    b"",
    b"{",
    b"null",
    b"[]",
    b'"text"',
    b"\xff\xfe",
    b'["fake","fake"]',
    b'["fake","fake",[[0,null,null]]]',
    b'["fake","fake",[[0,"1",null]]]',
    b'["fake","fake",[[0,true,null]]]',
    b'["fake","fake",[[0,NaN,null]]]',
    b'["fake","fake",[[1,0.5,null]]]',
    b'["fake","fake",[[-1,0.5,null]]]',
    b'["fake","fake",[[0,0.5,null],[0,0.5,null]]]',
    b'["fake","fake",[[0,0.5,"blank"]]]',
    b'["fake","fake",[[0,null,"odd"]]]',
    b'["fake","fake",[[0,0.5,null,[0,1]]]]',
    b'["fake",1,[[0,0.5,null]]]',
    b'[null,"fake",[[0,0.5,null]]]',
    b'["fake","fake",[[0,0.5,null]],7]',
    b'["fake","fake",{"0":0.5}]',
]


@pytest.mark.parametrize("junk", JUNK)
def test_a_value_that_is_damaged_is_a_miss_and_replaced(junk: bytes, colour: str) -> None:
    store = Plain()
    cached = Cached(Scorer({"a": 0.5}), store)
    run(colour, cached, "rerank", "q", ["a"])
    (key,) = store.held
    good, store.held[key] = store.held[key], junk
    response = run(colour, cached, "rerank", "q", ["a"])
    assert (response.cache.misses, response.results[0].relevance_score) == (1, 0.5)
    assert store.held[key] == good


# Identities


def test_clients_that_may_score_differently_share_nothing_and_equal_ones_share() -> None:
    url = "http://127.0.0.1:9"
    clients = [
        Client(provider)
        for provider in (
            COHERE.make(url),
            COHERE.make(url, model="rerank-v4.0-pro"),
            COHERE.make(url, max_tokens_per_doc=512),
            COHERE.make(url, rank_fields=["title", "text"]),
            COHERE.make(url, rank_fields=["text", "title"]),
            COHERE.make("http://127.0.0.1:10"),
            VOYAGE.make(url),
            VOYAGE.make(url, truncation=False),
            VOYAGE.make(url, instruction="be strict"),
            PINECONE.make(url),
            PINECONE.make(url, model="cohere-rerank-3.5"),
            KENDRA.make(url),
            KENDRA.make(url, plan_id="1" * 36),
        )
    ]
    identities = [client.cache_identity() for client in clients]
    assert len({identity.facts for identity in identities}) == len(clients)
    assert identities[0] == Client(COHERE.make(url, api_key="another-key-12345"), timeout=1.0).cache_identity()
    assert [identity.pointwise for identity in identities] == [True] * 11 + [False] * 2
    assert not any(b"another-key" in identity.facts or b"test-key" in identity.facts for identity in identities)


class Transparent(Wrapper):
    keeps_scores = True

    async def _rerank(self, io: Any, request: Any) -> Any: ...


def test_a_wrapper_that_keeps_scores_shares_with_what_it_holds() -> None:
    url = "http://127.0.0.1:9"
    one, twin, other = (Client(provider) for provider in (COHERE.make(url), COHERE.make(url), VOYAGE.make(url)))
    assert Transparent(one).cache_identity() == Cached(one).cache_identity() == one.cache_identity()
    assert Transparent(one, twin).cache_identity() == one.cache_identity()
    mixed = Transparent(one, other).cache_identity()
    assert mixed not in (one.cache_identity(), other.cache_identity(), Transparent(other, one).cache_identity())
    assert not mixed.pointwise


def test_a_chain_has_an_identity_of_its_own_by_what_it_holds() -> None:
    url = "http://127.0.0.1:9"
    one, other = Client(COHERE.make(url)), Client(VOYAGE.make(url))
    chains = [Fallback(one, other), Fallback(other, one), Fallback(one), Fallback(one, other, on=[ServerError]), Cached(one)]
    identities = [chain.cache_identity() for chain in chains]
    assert len({identity.facts for identity in identities}) == len(chains)
    assert not any(identity.pointwise for identity in identities[:4])
    assert Fallback(one, other, timeout=1.0).cache_identity() == identities[0]


class Foreign:
    def rerank(self, query: str, documents: Any, *, top_n: Any = None, timeout: Any = None) -> Any: ...

    async def arerank(self, query: str, documents: Any, *, top_n: Any = None, timeout: Any = None) -> Any: ...


class Told(Foreign):
    def cache_identity(self) -> CacheIdentity:
        return CacheIdentity(b"told")


def test_a_reranker_that_does_not_say_what_its_scores_depend_on_is_refused() -> None:
    for reranker in (Foreign(), Fallback(Scorer(), Foreign())):
        with pytest.raises(InvalidRequestError, match=r"give it the method cache_identity\(\), or put Cached around"):
            Cached(reranker)
    assert Cached(Told()).cache_identity() == CacheIdentity(b"told")


@pytest.mark.parametrize("wrong", [None, "scores.sqlite", MemoryStore, Scorer(), 7], ids=lambda wrong: type(wrong).__name__)
def test_what_is_no_store_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidRequestError, match="expected a store such as MemoryStore"):
        Cached(Scorer(), wrong)


def test_it_closes_the_reranker_and_the_stores(colour: str) -> None:
    closed: list[str] = []

    class Closable(Scorer):
        def close(self) -> None:
            closed.append("reranker")

    stores = [Plain(), Plain()]
    run(colour, Cached(Closable(), *stores), "close")
    assert (closed, [store.closed for store in stores]) == (["reranker"], [1, 1])


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda cached: pickle.loads(pickle.dumps(cached))])
def test_a_copy_is_made_of_the_same_and_begins_anew(copied: Any) -> None:
    cached = Cached(BM25(), MemoryStore(entries=7), timeout=3.0)
    cached.rerank("q", ["a"])
    twin = copied(cached)
    assert repr(twin) == repr(cached) == "Cached(BM25(), MemoryStore(entries=7), timeout=3.0)"
    assert twin.rerank("q", ["a"], top_n=1).cache.misses == (0 if copied is copy.copy else 1)


# Any sequence of calls

CALLS = st.lists(
    st.tuples(
        st.sampled_from(["q", "r"]),
        st.lists(st.sampled_from(["a", "b", "c", "d", "", " ", "same", "\ud800", "\ufffd"]), max_size=8),
        st.none() | st.integers(1, 9),
    ),
    min_size=1,
    max_size=8,
)


@tries(150)
@given(calls=CALLS, listwise=st.booleans(), entries=st.sampled_from([1, 3, 1_000]))
def test_any_sequence_of_calls_is_answered_as_without_a_cache(calls: Any, listwise: bool, entries: int) -> None:
    scores = None if listwise else by_text
    service = FakeReranker(scores)
    cached = Cached(service, MemoryStore(entries=entries))
    seen: set[tuple[str, str]] = set()
    for query, texts, top_n in calls:
        before = len(service.calls)
        response = cached.rerank(query, texts, top_n=top_n)
        assert shape(response) == shape(FakeReranker(scores).rerank(query, texts, top_n=top_n))
        ranked = [text for text in texts if text.strip()]
        assert response.cache.hits + response.cache.misses == len(ranked)
        if not listwise and entries == 1_000 and ranked:
            new = dict.fromkeys(text for text in ranked if (query, text) not in seen)
            assert [text for call in service.calls[before:] for text in call.texts] == list(new)
            seen |= {(query, text) for text in ranked}
