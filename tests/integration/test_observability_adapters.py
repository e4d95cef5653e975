"""OpenTelemetry's spans of calls through LangChain and LlamaIndex: below the span that is current where the call is made."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from inspect import signature
from typing import Any, TypedDict

import pytest
from langchain_core.documents import Document
from langchain_core.load import loads
from langchain_core.runnables import RunnableLambda
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.core.workflow import StartEvent, StopEvent, Workflow, step
from opentelemetry.trace import StatusCode

import langchain_rerankkit
import llamaindex_rerankkit
from helpers.llamaindex import Found
from helpers.server import Received, Recorder, Reply, recorder
from helpers.services import COHERE, KEY
from helpers.telemetry import Seen, telemetry
from helpers.ways import run
from langchain_rerankkit import RerankCompressor, RerankRetriever
from llamaindex_rerankkit import RerankPostprocessor
from rerankkit import BM25, Client, Retry, ServerError
from rerankkit.resilience import Fallback

DOCUMENTS = [Document("a 0.1"), Document("b 0.3")]
NODES = [NodeWithScore(node=TextNode(text="a 0.1")), NodeWithScore(node=TextNode(text="b 0.3"))]


class State(TypedDict, total=False):
    """Of a graph."""

    query: str
    found: list[Document]


CALLS: dict[str, tuple[Any, str, Any]] = {
    "langchain": (langchain_rerankkit.CohereRerank, "compress_documents", DOCUMENTS),
    "llamaindex": (llamaindex_rerankkit.CohereRerank, "postprocess_nodes", NODES),
}
RERANK = {"rerank rerank-v3.5": {}}


def answer(request: Received) -> Reply:
    if request.json["query"] == "fail":
        return Reply({"message": "no"}, 503)
    return COHERE.scored(lambda _, text: float(text.rsplit(maxsplit=1)[-1]))(request)


@contextmanager
def listening() -> Iterator[tuple[Recorder, Seen]]:
    with recorder(answer) as server, telemetry() as seen:
        yield server, seen


@pytest.fixture(params=CALLS)
def framework(request: pytest.FixtureRequest) -> str:
    return request.param


def made(framework: str, url: str) -> Any:
    return CALLS[framework][0](api_key=KEY, base_url=url, top_n=1, retry=Retry(attempts=1))


def ask(colour: str, framework: str, reranker: Any, query: str = "q") -> Any:
    _, method, given = CALLS[framework]
    bundle = {"query_str": query} if framework == "llamaindex" else {"query": query}
    return run(colour, reranker, method, given, **bundle)


def test_a_call_is_one_span_below_the_callers(framework: str, colour: str) -> None:
    with listening() as (server, seen):
        with seen.tracer.start_as_current_span("request"):
            ask(colour, framework, made(framework, server.url))
        ask(colour, framework, made(framework, server.url))
    assert seen.tree() == {"request": RERANK, **RERANK}, "without a span of the caller's it is a root"
    assert len(seen.spans) == 3
    request, reranked = seen.named("request"), seen.spans[0]
    assert reranked.context.trace_id == request.context.trace_id
    assert (reranked.attributes["gen_ai.rerank.candidate.count"], reranked.attributes["gen_ai.rerank.top_n"]) == (2, 1)


def test_calls_side_by_side_are_each_below_their_own_callers(framework: str) -> None:
    _, method, given = CALLS[framework]

    async def handle(seen: Seen, reranker: Any, number: int) -> None:
        with seen.tracer.start_as_current_span(f"request {number}"):
            await asyncio.sleep(0)
            await getattr(reranker, f"a{method}")(
                given, **({"query_str": "q"} if framework == "llamaindex" else {"query": "q"})
            )

    async def main(seen: Seen, url: str) -> None:
        async with made(framework, url) as reranker:
            await asyncio.gather(*(handle(seen, reranker, number) for number in range(8)))

    with listening() as (server, seen):
        asyncio.run(main(seen, server.url))
    assert seen.tree() == {f"request {number}": RERANK for number in range(8)}


def test_a_call_that_fails_is_a_span_that_failed(framework: str, colour: str) -> None:
    with listening() as (server, seen), pytest.raises(ServerError), seen.tracer.start_as_current_span("request"):
        ask(colour, framework, made(framework, server.url), query="fail")
    assert seen.tree() == {"request": RERANK}
    reranked = seen.named("rerank rerank-v3.5")
    assert reranked.status.status_code is StatusCode.ERROR
    assert reranked.attributes["error.type"] == "ServerError"


def test_a_composition_stands_below_the_caller_with_what_it_asked(framework: str, colour: str) -> None:
    adapt: Any = {"langchain": RerankCompressor, "llamaindex": RerankPostprocessor}[framework]
    with listening() as (server, seen):
        reranker = adapt(reranker=Fallback(Client(COHERE.make(server.url), retry=Retry(attempts=1)), BM25()))
        with seen.tracer.start_as_current_span("request"):
            ask(colour, framework, reranker, query="fail")
    assert seen.tree() == {"request": {"rerank Fallback": {**RERANK, "rerank bm25": {}}}}
    assert seen.named("rerank Fallback").attributes["rerankkit.status"] == "degraded"


# Inside what the frameworks build


def test_in_a_chain_it_is_below_the_span_of_the_step_that_calls(colour: str) -> None:
    with listening() as (server, seen):
        compressor = made("langchain", server.url)
        found = RunnableLambda(lambda query: {"query": query, "documents": DOCUMENTS})

        def step(query: str) -> Any:
            with seen.tracer.start_as_current_span("step"):
                return compressor.compress_documents(DOCUMENTS, query)

        async def astep(query: str) -> Any:
            with seen.tracer.start_as_current_span("step"):
                return await compressor.acompress_documents(DOCUMENTS, query)

        with seen.tracer.start_as_current_span("piped"):
            run(colour, found | compressor, "invoke", "q")
        with seen.tracer.start_as_current_span("called"):
            run(colour, RunnableLambda(step, astep), "invoke", "q")
        with seen.tracer.start_as_current_span("in LangChain's threads"):
            run(colour, RunnableLambda(step), "invoke", "q")
    expected = {"piped": RERANK, "called": {"step": RERANK}, "in LangChain's threads": {"step": RERANK}}
    assert seen.tree() == expected


def test_a_batch_is_below_the_callers_span_in_threads_and_tasks(colour: str) -> None:
    with listening() as (server, seen), seen.tracer.start_as_current_span("request"):
        given = [{"query": query, "documents": DOCUMENTS} for query in ("one", "two", "three")]
        run(colour, made("langchain", server.url), "batch", given)
    (request,) = [span for span in seen.spans if span.name == "request"]
    parents = [span.parent.span_id for span in seen.spans if span is not request]
    assert parents == [request.context.span_id] * 3


def test_a_retrievers_rerank_is_below_the_callers_span(colour: str) -> None:
    with listening() as (server, seen), seen.tracer.start_as_current_span("request"):
        base = RunnableLambda(lambda _: DOCUMENTS)
        run(colour, RerankRetriever(base_retriever=base, reranker=made("langchain", server.url)), "invoke", "q")
    assert seen.tree() == {"request": RERANK}


@pytest.mark.skipif("allowed_objects" not in signature(loads).parameters, reason="LangGraph wants langchain-core 1.2")
def test_in_a_graph_it_is_below_the_callers_span(colour: str) -> None:
    pytest.importorskip("langgraph", reason="an environment of the matrix, which has the two frameworks alone")
    from langgraph.graph import END, START, StateGraph

    with listening() as (server, seen), seen.tracer.start_as_current_span("request"):
        compressor = made("langchain", server.url)

        def rerank(state: State) -> State:
            return {"found": compressor.compress_documents(DOCUMENTS, state["query"])}

        async def arerank(state: State) -> State:
            return {"found": await compressor.acompress_documents(DOCUMENTS, state["query"])}

        graph = StateGraph(State)
        graph.add_node("rerank", RunnableLambda(rerank, arerank))
        graph.add_edge(START, "rerank").add_edge("rerank", END)
        found = run(colour, graph.compile(), "invoke", {"query": "q"})["found"]
    assert [document.page_content for document in found] == ["b 0.3"]
    assert seen.tree() == {"request": RERANK}


@pytest.mark.filterwarnings("ignore:ServiceManager is deprecated")  # workflows before llama-index-core 0.14 use it
def test_in_a_workflow_it_is_below_the_span_that_runs_it() -> None:
    class Answering(Workflow):
        @step
        async def rerank(self, event: StartEvent) -> StopEvent:
            return StopEvent(result=await event.reranker.apostprocess_nodes(NODES, query_str="q"))

    async def main(seen: Seen, url: str) -> None:
        with seen.tracer.start_as_current_span("request"):
            await Answering(timeout=60).run(reranker=made("llamaindex", url))

    with listening() as (server, seen):
        asyncio.run(main(seen, server.url))
    assert seen.tree() == {"request": RERANK}


def test_in_a_query_engine_it_is_below_the_callers_span(colour: str) -> None:
    with listening() as (server, seen), seen.tracer.start_as_current_span("request"):
        reranker = made("llamaindex", server.url)
        engine = RetrieverQueryEngine.from_args(Found("a 0.1", "b 0.3"), llm=MockLLM(), node_postprocessors=[reranker])
        run(colour, engine, "query", "q")
    assert seen.tree() == {"request": RERANK}
