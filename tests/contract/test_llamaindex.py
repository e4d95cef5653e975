"""What LlamaIndex is told of a call, and what else its users get beyond the ranking."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
from dataclasses import asdict
from typing import Any

import pytest
from llama_index.core.callbacks import CallbackManager, EventPayload
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index_instrumentation.dispatcher import instrument_tags
from pydantic import ValidationError

import llamaindex_rerankkit
from helpers.llamaindex import Asked, Callbacks, by_number, heard, nodes
from helpers.server import Reply, recorder
from helpers.services import COHERE, KEY, Service
from helpers.ways import run
from llamaindex_rerankkit import CohereRerank, RerankedNode, RerankPostprocessor, VoyageRerank
from rerankkit import Client, InvalidRequestError, RateLimitError, Retry, ServerError, Span
from rerankkit.resilience import Fallback
from rerankkit.testing import FakeReranker


def ask(colour: str, reranker: Any, *texts: str, query: Any = "q") -> list[NodeWithScore]:
    bundle = query if isinstance(query, QueryBundle) else QueryBundle(query)
    return run(colour, reranker, "postprocess_nodes", nodes(*texts), bundle)


@pytest.mark.parametrize("name", ["CohereRerank", "VoyageRerank", "PineconeRerank", "KendraRerank", "RerankPostprocessor"])
def test_each_class_is_a_postprocessor_with_a_name_of_its_own(name: str) -> None:
    made = getattr(llamaindex_rerankkit, name)
    assert BaseNodePostprocessor.__name__ in [base.__name__ for base in made.__mro__]
    assert made.class_name() == f"Rerankkit{name}"


@pytest.mark.parametrize(
    ("top_n", "expected"),
    [(None, ["c", "b", "a", "d"]), (1, ["c"]), (3, ["c", "b", "a"]), (4, ["c", "b", "a", "d"]), (99, ["c", "b", "a", "d"])],
)
def test_top_n_cuts_and_equal_scores_keep_their_order(
    service: Service, top_n: int | None, expected: list[str], colour: str
) -> None:
    with recorder(service.scored(by_number)) as server:
        reranker = RerankPostprocessor(reranker=Client(service.make(server.url)), top_n=top_n)
        found = ask(colour, reranker, "a 0.1", "b 0.2", "c 0.3", "d 0.1")
    assert [node.node_id for node in found] == expected


# Events


def test_the_start_says_what_is_asked_and_the_end_what_came_of_it(colour: str) -> None:
    answer = COHERE.answer([(1, 0.3), (0, 0.1)]) | {"meta": {"billed_units": {"search_units": 1}}}
    with recorder(lambda _: Reply(answer)) as server, heard() as (events, _):
        reranker = CohereRerank(api_key=KEY, base_url=server.url, top_n=2)
        bundle = QueryBundle("q", embedding=[0.1])
        found = ask(colour, reranker, "a 0.1", "b 0.3", query=bundle)
    start, end = events.rerank
    assert (start.query, start.top_n, start.model_name) == (bundle, 2, "rerank-v3.5")
    assert [node.node_id for node in start.nodes] == ["a", "b"]
    assert end.nodes == found
    assert end.tags["served_by"] == "cohere:rerank-v3.5"
    assert end.tags["status"] == "ok"
    assert end.tags["usage"] == {"requests": 1, "search_units": 1.0, "total_tokens": None, "rerank_units": None}
    assert "cost" in end.tags
    assert end.tags["request_ids"] == ["r-1"]
    assert (end.tags["attempts"], end.tags["warnings"]) == ([], [])


def test_a_users_own_tags_are_there_as_well(colour: str) -> None:
    with heard() as (events, _), instrument_tags({"session": "s-1"}):
        ask(colour, RerankPostprocessor(reranker=Asked()), "a 0.1")
    assert [event.tags["session"] for event in events.rerank] == ["s-1", "s-1"]
    assert events.rerank[1].tags["usage"]["requests"] == 1


def test_the_end_says_who_else_was_asked_and_who_served(colour: str) -> None:
    failing = Asked()
    failing.fail(ServerError("down", provider="fake"))
    with heard() as (events, _):
        ask(colour, RerankPostprocessor(reranker=Fallback(failing, Asked())), "a 0.1")
    tags = events.rerank[1].tags
    assert (tags["status"], tags["served_by"]) == ("degraded", "fake:fake")
    assert [(turn["outcome"], turn["error"]) for turn in tags["attempts"]] == [
        ("failed", "ServerError: fake: down"),
        ("served", None),
    ]
    assert [event.served_by for event in events.named("RerankDegradedEvent")] == ["fake:fake"]


def test_the_end_of_a_failed_call_says_how_it_failed(colour: str) -> None:
    failing = Asked()
    failing.fail(RateLimitError("slow down", provider="fake"))
    with heard() as (events, _), pytest.raises(RateLimitError):
        ask(colour, RerankPostprocessor(reranker=Fallback(failing)), "a 0.1")
    end = events.rerank[1]
    assert end.nodes == []
    assert (end.tags["error_type"], end.tags["error"]) == ("RateLimitError", "fake: slow down")
    assert [turn["outcome"] for turn in end.tags["attempts"]] == ["failed"]
    assert "usage" not in end.tags


def test_a_cancelled_call_has_its_end_too() -> None:
    async def main() -> None:
        reranker = RerankPostprocessor(reranker=Asked(latency=20), callback_manager=callbacks.manager)
        await asyncio.wait_for(reranker.apostprocess_nodes(nodes("a 0.1"), query_str="q"), 0.05)

    callbacks = Callbacks()
    with heard() as (events, _), pytest.raises(TimeoutError):
        asyncio.run(main())
    assert [event.class_name() for event in events.rerank] == ["ReRankStartEvent", "ReRankEndEvent"]
    assert events.rerank[1].tags["error_type"] == "CancelledError"
    assert [len(told) for told in callbacks.reranking()] == [1, 1]


def test_a_handler_that_fails_costs_no_ranking(colour: str) -> None:
    with heard() as (events, _):
        object.__setattr__(events, "handle", None)
        assert len(ask(colour, RerankPostprocessor(reranker=Asked()), "a 0.1")) == 1


def test_the_older_callbacks_are_told_the_same(colour: str) -> None:
    callbacks = Callbacks()
    reranker = RerankPostprocessor(reranker=Asked(), callback_manager=callbacks.manager)
    found = ask(colour, reranker, "a 0.1", "b 0.3")
    (start,), (end,) = callbacks.reranking()
    assert [node.node_id for node in start.pop(EventPayload.NODES)] == ["a", "b"]
    assert start == {EventPayload.QUERY_STR: "q", EventPayload.TOP_K: 2, EventPayload.MODEL_NAME: "fake"}
    assert end[EventPayload.NODES] == found
    assert end[EventPayload.ADDITIONAL_KWARGS]["usage"]["requests"] == 1


def test_the_older_callbacks_are_told_of_errors(colour: str) -> None:
    failing, callbacks = Asked(), Callbacks()
    failing.fail(error := ServerError("down"))
    with pytest.raises(ServerError):
        ask(colour, RerankPostprocessor(reranker=failing, callback_manager=callbacks.manager), "a 0.1")
    assert callbacks.reranking()[1] == [{EventPayload.EXCEPTION: error}]


def test_callbacks_that_nobody_hears_are_not_kept() -> None:
    """A manager without handlers would remember the id of each event for as long as it lives."""
    manager = CallbackManager()
    reranker = RerankPostprocessor(reranker=Asked(), callback_manager=manager)
    for _ in range(10):
        ask("sync", reranker, "a 0.1")
    assert sum(map(len, manager.trace_map.values())) == 0


# Made, changed and closed


def test_a_manager_set_by_an_engine_is_told(colour: str) -> None:
    reranker = RerankPostprocessor(reranker=Asked(), callback_manager=CallbackManager())
    callbacks = Callbacks()
    reranker.callback_manager = callbacks.manager
    ask(colour, reranker, "a 0.1")
    assert len(callbacks.reranking()[1]) == 1


def test_a_key_and_an_address_may_change_one_after_the_other(colour: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CO_API_KEY", "the-key-of-the-environment")
    with recorder(COHERE.scored(by_number)) as server:
        reranker = CohereRerank()
        reranker.base_url = server.url
        with pytest.raises(InvalidRequestError, match="base_url points to 127.0.0.1"):
            ask(colour, reranker, "a 0.1")
        reranker.api_key = KEY
        ask(colour, reranker, "a 0.1")
    assert [request.headers["authorization"] for request in server.requests] == [f"Bearer {KEY}"]


def test_closing_closes_the_connections(service: Service, colour: str) -> None:
    async def use(reranker: Any) -> None:
        async with reranker as entered:
            assert entered is reranker
            await reranker.apostprocess_nodes(nodes("a 0.1"), query_str="q")

    with recorder(service.scored(by_number)) as server:
        reranker = RerankPostprocessor(reranker=Client(service.make(server.url)))
        if colour == "async":
            asyncio.run(use(reranker))
        else:
            with reranker:
                ask(colour, reranker, "a 0.1")
        with pytest.raises(InvalidRequestError, match="closed"):
            ask(colour, reranker, "a 0.1")
    assert len(server.requests) == 1


def test_closing_what_holds_nothing_does_no_harm() -> None:
    with RerankPostprocessor(reranker=Asked()) as reranker:
        ask("sync", reranker, "a 0.1")
    reranker.close()
    asyncio.run(reranker.aclose())
    assert len(ask("sync", reranker, "a 0.1")) == 1, "there is nothing that could have been closed"


def test_a_subclass_of_a_wrapper_stays_one_and_keeps_its_own_fields(colour: str) -> None:
    class Cited(NodeWithScore):
        page: int

    given = Cited(node=TextNode(text="a 0.1"), score=0.5, page=7)
    found = run(colour, RerankPostprocessor(reranker=Asked()), "postprocess_nodes", [given], query_str="q")
    assert (type(found[0]), found[0].page, found[0].score) == (Cited, 7, 0.1)
    assert found[0] is not given
    assert found[0].node is given.node


def test_a_subclass_of_a_reranked_node_keeps_the_first_score_it_came_with(colour: str) -> None:
    class Cited(RerankedNode):
        page: int

    reranker = RerankPostprocessor(reranker=Asked(), keep_retrieval_score=True)
    given = Cited(node=TextNode(text="a 0.1"), score=0.5, page=7)
    for _ in range(2):
        (given,) = run(colour, reranker, "postprocess_nodes", [given], query_str="q")
        assert (type(given), given.page, given.score, given.retrieval_score) == (Cited, 7, 0.1, 0.5)


def test_a_subclass_without_a_place_for_the_score_to_keep_is_refused(colour: str) -> None:
    class Cited(NodeWithScore):
        page: int

    reranker = RerankPostprocessor(reranker=(asked := Asked()), keep_retrieval_score=True)
    with pytest.raises(InvalidRequestError, match=r"nodes\[0\] is a Cited, .* derive Cited from RerankedNode"):
        run(colour, reranker, "postprocess_nodes", [Cited(node=TextNode(text="a 0.1"), page=7)], query_str="q")
    assert asked.calls == []


def test_nodes_may_come_from_a_generator(colour: str) -> None:
    given = (node for node in nodes("a 0.1", "b 0.3"))
    found = run(colour, RerankPostprocessor(reranker=Asked()), "postprocess_nodes", given, query_str="q")
    assert [node.score for node in found] == [0.3, 0.1]


# Spans

TEXT = "Fares are low. The ferry 🚢 leaves at nine. Dogs travel free."
SPANS = (Span(15, 42, 0.9), Span(0, 14, 0.4))


def spanning(*spans: Span) -> Any:
    first = {"index": 0, "relevance_score": 0.7, "relevant_spans": [asdict(span) for span in spans]}
    return lambda _: Reply({"id": "r", "results": [first, {"index": 1, "relevance_score": 0.1}], "meta": {}})


def with_spans(url: str, **options: Any) -> CohereRerank:
    return CohereRerank(api_key=KEY, model="rerank-v5.0-fast", relevant_spans=True, base_url=url, **options)


def test_spans_stand_beside_the_node_and_change_nothing_of_it(colour: str) -> None:
    given = [NodeWithScore(node=TextNode(text=text, metadata={"page": 7}), score=0.5) for text in (TEXT, "else")]
    before = [(each.node.model_dump(), each.node.hash) for each in given]
    with recorder(spanning(*SPANS)) as server:
        found = run(colour, with_spans(server.url), "postprocess_nodes", given, query_str="q")
    assert [type(each) for each in found] == [RerankedNode, RerankedNode]
    assert [(each.score, each.retrieval_score, each.spans) for each in found] == [(0.7, 0.5, SPANS), (0.1, 0.5, ())]
    assert [TEXT[span.start : span.end] for span in found[0].spans] == ["The ferry 🚢 leaves at nine.", "Fares are low."]
    assert all(each.node is one.node for each, one in zip(found, given, strict=True))
    assert [(each.node.model_dump(), each.node.hash) for each in given] == before
    assert server.requests[0].json["relevant_spans"] == {"mode": "enabled"}


def test_spans_survive_dumps_and_pickles(colour: str) -> None:
    with recorder(spanning(*SPANS)) as server:
        found = run(colour, with_spans(server.url, top_n=1), "postprocess_nodes", nodes(TEXT, "else"), query_str="q")
    for twin in (pickle.loads(pickle.dumps(found[0])), copy.deepcopy(found[0]), found[0].model_copy()):
        assert twin.spans == SPANS
    assert found[0].to_dict()["spans"] == tuple(asdict(span) for span in SPANS)
    assert json.loads(found[0].to_json())["spans"] == [asdict(span) for span in SPANS]


def test_the_spans_of_the_last_reranker_that_tells_any_are_kept(colour: str) -> None:
    with recorder(spanning(*SPANS)) as server:
        once = run(colour, with_spans(server.url), "postprocess_nodes", nodes(TEXT, "else"), query_str="q")
    silent = RerankPostprocessor(reranker=FakeReranker())
    assert [each.spans for each in run(colour, silent, "postprocess_nodes", once, query_str="q")] == [SPANS, ()]
    with recorder(spanning()) as server:
        again = run(colour, with_spans(server.url), "postprocess_nodes", once, query_str="q")
    assert [each.spans for each in again] == [(), ()]
    assert [each.retrieval_score for each in again] == [0.9, 0.8]


def test_a_subclass_of_a_wrapper_stays_one_where_spans_are_told(colour: str) -> None:
    class Cited(NodeWithScore):
        page: int

    given = [Cited(node=TextNode(text=text), page=7) for text in (TEXT, "else")]
    with recorder(spanning(*SPANS)) as server:
        found = run(colour, with_spans(server.url), "postprocess_nodes", given, query_str="q")
    assert [(type(each), each.page) for each in found] == [(Cited, 7), (Cited, 7)]


# The names of the classes one comes from


def test_top_k_is_another_name_of_voyages_top_n(colour: str) -> None:
    reranker = VoyageRerank(model="rerank-2.5", api_key=KEY, top_k=3, truncation=True)
    assert (reranker.top_n, reranker.top_k) == (3, 3)
    reranker.top_k = 2
    assert (reranker.top_n, reranker.top_k) == (2, 2)
    assert reranker.model_copy(update={"top_k": 4}).top_n == 4
    assert "top_k" not in reranker.to_dict()
    with pytest.raises(ValidationError, match="top_k is another name of top_n: pass one of them"):
        VoyageRerank(api_key=KEY, top_k=3, top_n=3)
    with pytest.raises(ValidationError, match="top_n must be a whole number at least 1, got 0; pass None"):
        VoyageRerank(api_key=KEY, top_k=0)


def test_max_retries_is_told_what_to_be() -> None:
    with pytest.raises(ValidationError, match=r"there is no max_retries: pass retry=Retry\(attempts=...\)"):
        CohereRerank.model_validate({"api_key": KEY, "max_retries": 3})
    assert CohereRerank(api_key=KEY, retry=Retry(attempts=4)).client() is not None
