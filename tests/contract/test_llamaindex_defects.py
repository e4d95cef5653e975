"""The defects of LlamaIndex's own rerankers, as they were reproduced there (D1 to D23), which these have not.

D18 does not apply: there is no HTTP client to hand in, and an option that does not exist is refused (D23).
"""

from __future__ import annotations

import asyncio
import copy
import json
import math
import pickle
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import Document, ImageNode, IndexNode, MediaResource, MetadataMode, Node, NodeWithScore, TextNode
from pydantic import ValidationError

import llamaindex_rerankkit
from helpers.llamaindex import Asked, Callbacks, Found, by_number, heard, nodes, span_named
from helpers.server import Received, Reply, recorder
from helpers.services import COHERE, KEY, PINECONE, PLAN_ID, POINTWISE, SERVICES, VOYAGE, Service
from helpers.ways import run
from llamaindex_rerankkit import CohereRerank, RerankedNode, RerankPostprocessor
from rerankkit import (
    AuthenticationError,
    BadRequestError,
    DeadlineExceededError,
    InvalidRequestError,
    InvalidResponseError,
    RateLimitError,
    RerankError,
    Retry,
    ServerError,
)
from rerankkit.emulator import Emulator

QUICK = Retry(base_delay=0, rate_limit_delay=0)
Answer = Callable[[Received], Reply]


def make(service: Service, url: str, **options: Any) -> Any:
    """The service's class, pointed at *url*."""
    keys: dict[str, Any] = {"api_key": KEY}
    if service.name == "kendra":
        keys = {"plan_id": PLAN_ID, "region": "us-east-1", "aws_access_key_id": "AKID", "aws_secret_access_key": KEY}
    return getattr(llamaindex_rerankkit, f"{service.name.capitalize()}Rerank")(**{**keys, "base_url": url, **options})


def ranked(colour: str, reranker: Any, given: list[NodeWithScore], query: str = "q") -> list[tuple[str, float | None]]:
    found = run(colour, reranker, "postprocess_nodes", given, query_str=query)
    return [(node.node.get_content(), node.score) for node in found]


def failing(service: Service, *replies: Reply) -> Answer:
    """These replies in their order, and then good ones."""
    waiting = list(replies)
    good = service.scored(by_number)
    return lambda request: waiting.pop(0) if waiting else good(request)


# D1: async calls on the threads of the default executor


def test_d1_64_calls_at_once_are_64_requests_at_once_and_no_threads() -> None:
    together = threading.Barrier(64)

    def answer(request: Received) -> Reply:
        together.wait(60)  # nobody is answered before all have asked
        return COHERE.scored(by_number)(request)

    async def main(url: str) -> list[list[NodeWithScore]]:
        executor = ThreadPoolExecutor(1)
        asyncio.get_running_loop().set_default_executor(executor)
        async with make(COHERE, url, timeout=90) as reranker:
            calls = [reranker.apostprocess_nodes(nodes(f"a 0.1 of {n}", f"b {n}"), query_str="q") for n in range(64)]
            found = await asyncio.gather(*calls)
        assert not executor._threads
        return found

    with recorder(answer) as server:
        found = asyncio.run(main(server.url))
    assert [[node.score for node in each] for each in found] == [[float(n), float(n)] for n in range(64)]


def test_d1_six_calls_that_ran_out_of_time_do_not_delay_the_seventh() -> None:
    over = threading.Event()

    def answer(request: Received) -> Reply:
        if request.json["query"] == "hang":
            over.wait(60)
        return COHERE.scored(by_number)(request)

    async def main(url: str) -> list[NodeWithScore]:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        async with make(COHERE, url) as reranker:
            hanging = [asyncio.wait_for(reranker.apostprocess_nodes(nodes("a 0.1"), query_str="hang"), 0.2) for _ in range(6)]
            failures = await asyncio.gather(*hanging, return_exceptions=True)
            assert [type(failure) for failure in failures] == [TimeoutError] * 6
            assert len(asyncio.all_tasks()) == 1, "nothing goes on after a call was given up"
            found = await reranker.apostprocess_nodes(nodes("a 0.1", "b 0.2"), query_str="go")
            assert not over.is_set()
            return found

    with recorder(answer) as server:
        found = asyncio.run(main(server.url))
        over.set()
    assert [node.score for node in found] == [0.2, 0.1]


# D2: one async client for all event loops


def test_d2_event_loops_one_after_another_and_side_by_side(service: Service) -> None:
    with recorder(service.scored(by_number)) as server:
        reranker = make(service, server.url)
        found = [ranked("async", reranker, nodes("a 0.1", "b 0.2")) for _ in range(3)]
        threads = ThreadPoolExecutor(2)
        found += threads.map(lambda _: ranked("async", reranker, nodes("a 0.1", "b 0.2")), range(10))
    assert found == [[("b 0.2", 0.2), ("a 0.1", 0.1)]] * 13


# D3 and D4: retries upon retries, and none at all


def test_d3_an_outage_costs_three_requests_not_thirty(service: Service, colour: str) -> None:
    with recorder(lambda _: Reply({"message": "down"}, 503)) as server:
        with pytest.raises(ServerError):
            ranked(colour, make(service, server.url, retry=QUICK), nodes("a 0.1"))
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [429, 502])
def test_d4_a_rate_limit_or_a_bad_gateway_is_tried_again_when_the_service_says(
    service: Service, status: int, colour: str
) -> None:
    refusal = Reply({"message": "later"}, status, {"Retry-After": "0.1"})
    with recorder(failing(service, refusal)) as server:
        started = time.monotonic()
        assert ranked(colour, make(service, server.url), nodes("a 0.1")) == [("a 0.1", 0.1)]
        assert time.monotonic() - started >= 0.1
    assert len(server.requests) == 2


def test_d4_a_rate_limit_that_stays_is_told(colour: str) -> None:
    with recorder(lambda _: Reply(VOYAGE.error("slow down"), 429)) as server:
        with pytest.raises(RateLimitError, match="slow down"):
            ranked(colour, make(VOYAGE, server.url, retry=Retry(attempts=1)), nodes("a 0.1"))


# D5: no time limit


def test_d5_a_service_that_does_not_answer_is_given_up(service: Service, colour: str) -> None:
    over = threading.Event()

    def answer(request: Received) -> Reply:
        over.wait(60)
        return Reply()

    with recorder(answer) as server:
        with pytest.raises(DeadlineExceededError, match=r"0\.2 s"):
            ranked(colour, make(service, server.url, timeout=0.2), nodes("a 0.1"))
        over.set()


def test_d5_without_a_timeout_of_its_own_a_call_ends_after_30_seconds(service: Service) -> None:
    assert make(service, "https://x.test").client().timeout == 30.0


# D6 to D9: keys, dumps, pickles


def test_d6_no_key_in_any_dump_or_repr(service: Service) -> None:
    reranker = make(service, "https://x.test")
    copied = reranker.model_copy(update={"api_key": KEY} if service.name != "kendra" else {"aws_secret_access_key": KEY})
    reranker.callback_manager = Callbacks().manager
    for each in (reranker, copied):
        shown = [repr(each), str(each), each.to_json(), str(each.to_dict()), str(each.model_dump()), each.model_dump_json()]
        assert all(KEY not in text and "AKID" not in text for text in shown)
        assert KEY.encode() not in pickle.dumps(each)
    with pytest.raises(ValidationError) as caught:
        make(service, "https://x.test", top_n=0)
    assert KEY not in str(caught.value)


def test_d6_an_assigned_key_is_hidden_and_used(colour: str) -> None:
    with recorder(COHERE.scored(by_number)) as server:
        reranker = make(COHERE, server.url)
        ranked(colour, reranker, nodes("a 0.1"))
        reranker.api_key = "another-key-0123456789"
        ranked(colour, reranker, nodes("a 0.1"))
        assert "another-key" not in repr(reranker) + reranker.to_json() + str(pickle.dumps(reranker))
    keys = [request.headers["authorization"] for request in server.requests]
    assert keys == [f"Bearer {KEY}", "Bearer another-key-0123456789"]


def test_d7_what_was_dumped_is_loaded_with_all_its_options(service: Service, emulator: Emulator, colour: str) -> None:
    reranker = make(service, emulator.urls[service.name], top_n=2, retry=Retry(attempts=2), metadata_mode=MetadataMode.EMBED)
    keys = {name: getattr(reranker, name) for name in ("api_key", "aws_access_key_id", "aws_secret_access_key")
            if hasattr(reranker, name)}  # fmt: skip
    for loaded in (
        type(reranker).from_dict(reranker.to_dict(), **keys),
        type(reranker).from_json(reranker.to_json(), **keys),
    ):
        assert loaded.to_dict() == reranker.to_dict()
        assert loaded.client().provider.base_url == reranker.client().provider.base_url == emulator.urls[service.name]
    assert json.loads(reranker.to_json())["class_name"] == f"Rerankkit{type(reranker).__name__}"


@pytest.mark.parametrize("attempts", [None, 3])
def test_d7_what_was_dumped_is_loaded_with_its_attempts(attempts: int | None) -> None:
    retry = Retry(attempts=attempts, max_delay=2.0)
    reranker = make(COHERE, "http://127.0.0.1:9", retry=retry)
    assert type(reranker).from_json(reranker.to_json(), api_key=KEY).retry == retry


def test_d8_pickles_and_deep_copies_rank(
    service: Service, emulator: Emulator, colour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in emulator.environment.items():
        monkeypatch.setenv(variable, value)
    none: dict[str, Any] = {"aws_access_key_id": None, "aws_secret_access_key": None, "plan_id": emulator.plan_id}
    reranker = make(service, "", base_url=None, **(none if service.name == "kendra" else {"api_key": None}))
    callbacks = Callbacks()
    callbacks.lock = threading.Lock()  # type: ignore[attr-defined]  # handlers hold what cannot be copied
    reranker.callback_manager = callbacks.manager
    expected = ranked(colour, reranker, nodes("a car", "a ferry"), "ferry")
    twins = (pickle.loads(pickle.dumps(reranker)), copy.deepcopy(reranker), copy.copy(reranker), reranker.model_copy(deep=True))
    for twin in twins:
        assert ranked(colour, twin, nodes("a car", "a ferry"), "ferry") == expected
    assert len(callbacks.reranking()[1]) == 4, "all but the pickled one tell the same callbacks"


def test_d8_what_cannot_be_pickled_is_told_when_it_is_pickled() -> None:
    class Local(Asked):
        pass

    with pytest.raises((AttributeError, pickle.PicklingError), match="Local"):
        pickle.dumps(RerankPostprocessor(reranker=Local()))


def test_d8_a_pickle_that_is_loaded_without_a_key_says_so_when_it_is_used(colour: str) -> None:
    loaded = pickle.loads(pickle.dumps(CohereRerank(api_key=KEY)))
    with pytest.raises(InvalidRequestError, match="needs a key: set CO_API_KEY or COHERE_API_KEY"):
        ranked(colour, loaded, nodes("a"))


@pytest.mark.parametrize("service", POINTWISE, ids=lambda service: service.name)
def test_d9_a_missing_key_is_an_error_that_names_the_variable(service: Service) -> None:
    with pytest.raises(ValidationError, match=rf"{service.name} needs a key: set .*{service.name.upper()}_API_KEY"):
        make(service, "https://x.test", api_key=None)
    with pytest.raises(ValidationError, match=f"{service.name} key is empty"):
        make(service, "https://x.test", api_key="")


# D10 and D11: the caller's nodes


def test_d10_two_queries_over_one_cached_list_get_scores_of_their_own() -> None:
    given = nodes("a 1", "b 2", "c 3")
    given_scores = [node.score for node in given]
    reranker = RerankPostprocessor(reranker=Backwards())

    async def main() -> list[list[NodeWithScore]]:
        return await asyncio.gather(*(reranker.apostprocess_nodes(given, query_str=query) for query in ("up", "down")))

    up, down = asyncio.run(main())
    assert [(node.node_id, node.score) for node in up] == [("c", 3.0), ("b", 2.0), ("a", 1.0)]
    assert [(node.node_id, node.score) for node in down] == [("a", -1.0), ("b", -2.0), ("c", -3.0)]
    assert [node.score for node in given] == given_scores
    assert all(one.node is given[index].node and one is not given[index] for index, one in enumerate(down))


class Backwards(Asked):
    """The order depends on the query."""

    def __init__(self) -> None:
        super().__init__(latency=0.01)
        self.scores = lambda query, text: by_number(query, text) * (1 if query == "up" else -1)


def test_d11_a_kept_retrieval_score_is_in_no_prompt_no_hash_and_no_metadata(colour: str) -> None:
    retriever = Found("a 0.1", "b 0.3")
    before = [node.node.model_dump() for node in retriever.found]
    hashes = [node.node.hash for node in retriever.found]
    reranker = RerankPostprocessor(reranker=Asked(), keep_retrieval_score=True)
    answer = run(colour, RetrieverQueryEngine.from_args(retriever, llm=MockLLM(), node_postprocessors=[reranker]), "query", "q")
    found: Any = answer.source_nodes
    assert [type(node) for node in found] == [RerankedNode, RerankedNode]
    assert [(node.score, node.retrieval_score) for node in found] == [(0.3, 0.8), (0.1, 0.9)]
    assert "0.8" not in str(answer)
    assert [node.node.model_dump() for node in retriever.found] == before
    assert [node.node.hash for node in retriever.found] == hashes


def test_d11_a_second_reranker_keeps_the_first_stages_score(colour: str) -> None:
    reranker = RerankPostprocessor(reranker=Asked(), keep_retrieval_score=True)
    once = run(colour, reranker, "postprocess_nodes", nodes("a 0.1", "b 0.3"), query_str="q")
    for second in (reranker, RerankPostprocessor(reranker=Asked())):
        twice = run(colour, second, "postprocess_nodes", once, query_str="q")
        assert [(node.score, node.retrieval_score) for node in twice] == [(0.3, 0.8), (0.1, 0.9)]
    assert pickle.loads(pickle.dumps(once[0])).retrieval_score == 0.8
    assert once[0].to_dict()["retrieval_score"] == 0.8


def test_d11_without_being_asked_nodes_are_plain(colour: str) -> None:
    found = run(colour, RerankPostprocessor(reranker=Asked()), "postprocess_nodes", nodes("a 0.1"), query_str="q")
    assert [type(node) for node in found] == [NodeWithScore]


# D12 and D13: events


def test_d12_each_start_has_its_end_also_of_calls_that_fail(colour: str) -> None:
    asked, callbacks = Asked(), Callbacks()
    asked.fail(ServerError("down"))
    reranker = RerankPostprocessor(reranker=asked, callback_manager=callbacks.manager)
    with heard() as (events, _):
        with pytest.raises(ServerError):
            ranked(colour, reranker, nodes("a 0.1"))
        assert ranked(colour, reranker, []) == []
        with pytest.raises(InvalidRequestError):
            run(colour, reranker, "postprocess_nodes", nodes("a 0.1"))
        ranked(colour, reranker, nodes("a 0.1"))
    names = [event.class_name() for event in events.rerank]
    assert names == ["ReRankStartEvent", "ReRankEndEvent"] * 2, "none for empty lists, and none before there is a call"
    assert [len(told) for told in callbacks.reranking()] == [2, 2]


def test_d13_no_top_n_is_all_of_them_in_events_too(service: Service, colour: str) -> None:
    with recorder(service.scored(by_number)) as server, heard() as (events, _):
        assert len(ranked(colour, make(service, server.url, top_n=None), nodes("a 0.1", "b 0.2"))) == 2
    assert events.rerank[0].top_n == 2


# D14 to D17: what goes out, and what comes back


@pytest.mark.parametrize(("service", "count", "requests"), [(COHERE, 1_001, 2), (VOYAGE, 1_001, 2), (PINECONE, 101, 2)])
def test_d14_more_nodes_than_a_service_takes(service: Service, count: int, requests: int, colour: str) -> None:
    given = nodes(*(f"text {n}" for n in range(count)))
    with recorder(service.scored(by_number)) as server:
        found = ranked(colour, make(service, server.url, top_n=2), given)
    assert found == [(f"text {count - 1}", count - 1), (f"text {count - 2}", count - 2)]
    assert len(server.requests) == requests


def test_d15_blank_nodes_are_not_sent_and_come_last(service: Service, colour: str) -> None:
    with recorder(service.scored(by_number)) as server:
        found = ranked(colour, make(service, server.url), nodes("", "a 0.1", "\n\t"))
    assert found == [("a 0.1", 0.1), ("", None), ("\n\t", None)]
    assert service.texts(server.requests[0].json) == ["a 0.1"]


@pytest.mark.parametrize(
    "results",
    [
        [(-1, 0.5), (0, 0.4)],
        [(99, 0.5), (0, 0.4)],
        [(0, 0.5), (0, 0.4)],
        [(0, math.nan), (1, 0.4)],
        [(0, None), (1, 0.4)],
    ],
)
def test_d16_a_reply_that_cannot_be_right_is_an_error(service: Service, results: Any, colour: str) -> None:
    with recorder(lambda _: Reply(service.answer(results))) as server:
        with pytest.raises(InvalidResponseError):
            ranked(colour, make(service, server.url, retry=Retry(attempts=1)), nodes("a", "b"))


def test_d16_an_unsorted_reply_is_sorted_before_it_is_cut(service: Service, colour: str) -> None:
    unsorted = [(0, 0.1), (1, 0.9), (2, 0.5)]
    with recorder(lambda _: Reply(service.answer(unsorted))) as server:
        reranker = make(service, server.url)
        assert ranked(colour, reranker, nodes("a", "b", "c")) == [("b", 0.9), ("c", 0.5), ("a", 0.1)]


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply({"error": "no", "error_type": "key"}, 401), AuthenticationError),
        (Reply({"message": "no"}, 400), BadRequestError),
        (Reply(b"<html>502 Bad Gateway</html>", 502, {"Content-Type": "text/html"}), ServerError),
        (Reply(b"<html>welcome</html>", 200, {"Content-Type": "text/html"}), InvalidResponseError),
    ],
)
def test_d17_every_failure_is_a_rerank_error(service: Service, reply: Reply, error: type[RerankError], colour: str) -> None:
    with recorder(lambda _: reply) as server:
        with pytest.raises(error) as caught:
            ranked(colour, make(service, server.url, retry=Retry(attempts=1)), nodes("a", "b"))
    assert isinstance(caught.value, RerankError)


# D19 to D23


def test_d19_calls_share_a_connection(service: Service, colour: str) -> None:
    async def five_times(reranker: Any) -> None:
        for _ in range(5):
            await reranker.apostprocess_nodes(nodes("a 0.1"), query_str="q")

    with recorder(service.scored(by_number)) as server, make(service, server.url) as reranker:
        if colour == "async":
            asyncio.run(five_times(reranker))
        else:
            for _ in range(5):
                ranked(colour, reranker, nodes("a 0.1"))
    assert (len(server.requests), server.connections) == (5, 1)


def test_d20_nodes_of_all_kinds(service: Service, colour: str) -> None:
    given = [
        ImageNode(image_path="p.png"),
        Document(text="a 0.1"),
        Node(text_resource=MediaResource(text="b 0.4")),
        IndexNode(text="c 0.3", index_id="chapter"),
        ImageNode(text="d 0.2", image_path="p.png"),
        TextNode(text="e 0.5"),
        Node(image_resource=MediaResource(data=b"", mimetype="image/png")),
    ]
    with recorder(service.scored(by_number)) as server:
        reranker = make(service, server.url)
        found = run(colour, reranker, "postprocess_nodes", [NodeWithScore(node=node) for node in given], query_str="q")
    assert [given.index(each.node) for each in found] == [5, 2, 3, 4, 1, 0, 6]
    assert [each.score for each in found] == [0.5, 0.4, 0.3, 0.2, 0.1, None, None]
    assert len(service.texts(server.requests[0].json)) == 5


def test_d21_async_calls_have_a_span_of_their_own(colour: str) -> None:
    """That its evaluators and ObjectRetriever block their event loop is LlamaIndex's own doing."""
    with heard() as (events, spans):
        ranked(colour, RerankPostprocessor(reranker=Asked()), nodes("a 0.1"))
    own = span_named(spans, f"RerankPostprocessor.{'_a' if colour == 'async' else '_'}postprocess_nodes")
    assert {event.span_id for event in events.rerank} == {own.id_}


@pytest.mark.parametrize("service", POINTWISE, ids=lambda service: service.name)
def test_d22_no_sdk_is_needed(service: Service, colour: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for sdk in ("cohere", "voyageai", "pinecone"):
        monkeypatch.setitem(sys.modules, sdk, None)
    with recorder(service.scored(by_number)) as server:
        assert ranked(colour, make(service, server.url), nodes("a 0.1")) == [("a 0.1", 0.1)]


@pytest.mark.parametrize("unknown", ["topn", "top_N", "model_name", "http_client", "httpx_async_client"])
def test_d23_unknown_options_are_refused(service: Service, unknown: str) -> None:
    with pytest.raises(ValidationError, match=unknown):
        make(service, "https://x.test", **{unknown: 7})
    with pytest.raises(ValueError, match=unknown):
        setattr(make(service, "https://x.test"), unknown, 7)


def test_d23_what_cannot_be_right_is_refused_when_it_is_set(service: Service) -> None:
    reranker = make(service, "https://x.test")
    for name, value in {"top_n": 0, "timeout": -1, "min_score": math.nan, "metadata_mode": "both"}.items():
        with pytest.raises(ValidationError, match=name):
            setattr(reranker, name, value)
    assert (reranker.top_n, reranker.timeout, reranker.min_score) == (None, None, None)


def test_the_list_of_services_is_whole() -> None:
    assert [service.name for service in SERVICES] == ["cohere", "voyage", "pinecone", "kendra"]
