"""The postprocessors where LlamaIndex uses them: in engines, tools, workflows, agents and evaluators, offline."""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from typing import Any

import pytest
from llama_index.core import MockEmbedding, VectorStoreIndex
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.base_selector import BaseSelector, SelectorResult, SingleSelection
from llama_index.core.chat_engine import CondensePlusContextChatEngine, ContextChatEngine
from llama_index.core.evaluation import RetrieverEvaluator
from llama_index.core.llms import MockLLM
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.postprocessor import SimilarityPostprocessor
from llama_index.core.query_engine import CitationQueryEngine, RetrieverQueryEngine, RouterQueryEngine
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.core.tools import QueryEngineTool, RetrieverTool
from llama_index.core.tools.types import ToolMetadata
from llama_index.core.workflow import Event, StartEvent, StopEvent, Workflow, step

from helpers.llamaindex import Asked, CallsOneTool, Found, heard, span_named
from helpers.server import recorder
from helpers.services import COHERE, KEY
from helpers.ways import run
from llamaindex_rerankkit import CohereRerank, RerankPostprocessor
from rerankkit import RateLimitError, ServerError

pytestmark = [  # LlamaIndex's own
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:ServiceManager is deprecated"),
]

TEXTS = ("first 0.1", "second 0.3", "third 0.2")
BEST = ["second 0.3", "third 0.2"]
ASYNC_EVERYWHERE = tuple(map(int, version("llama-index-core").split(".")[:3])) >= (0, 14, 18)


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def reranker(asked: Asked) -> RerankPostprocessor:
    return RerankPostprocessor(reranker=asked, top_n=2)


def texts(found: list[NodeWithScore]) -> list[str]:
    return [node.node.get_content() for node in found]


def check(asked: Asked, colour: str, query: str = "q", since: bool = True) -> None:
    """One call, with what was asked; in the caller's colour, if LlamaIndex has it."""
    assert [call.query.strip().removeprefix("input is ") for call in asked.calls] == [query]
    assert asked.colours == [colour if since else "sync"]


def memory() -> ChatMemoryBuffer:
    """The default one leaves a database open."""
    return ChatMemoryBuffer.from_defaults(token_limit=3_000)


def query_engine(reranker: Any, retriever: Any = None) -> RetrieverQueryEngine:
    return RetrieverQueryEngine.from_args(retriever or Found(*TEXTS), llm=MockLLM(), node_postprocessors=[reranker])


def test_retriever_query_engine(asked: Asked, reranker: RerankPostprocessor, colour: str) -> None:
    answer = run(colour, query_engine(reranker), "query", "q")
    assert texts(answer.source_nodes) == BEST
    assert [node.score for node in answer.source_nodes] == [0.3, 0.2]
    prompt = str(answer)
    assert prompt.index("second 0.3") < prompt.index("third 0.2"), "the model reads the best node first"
    assert "first 0.1" not in prompt
    check(asked, colour)


def test_a_blocking_query_works_within_a_running_loop(asked: Asked, reranker: RerankPostprocessor) -> None:
    async def notebook() -> Any:
        return query_engine(reranker).query("q")

    assert texts(asyncio.run(notebook()).source_nodes) == BEST
    check(asked, "sync")


def test_the_event_of_reranking_hangs_under_a_span_of_its_own_within_the_query(
    reranker: RerankPostprocessor, colour: str
) -> None:
    engine = query_engine(reranker)
    with heard() as (events, spans):
        run(colour, engine, "query", "q")
    own = span_named(spans, "postprocess_nodes")
    assert own.id_.startswith(f"RerankPostprocessor.{'_a' if colour == 'async' else '_'}postprocess_nodes")
    assert [event.span_id for event in events.rerank] == [own.id_, own.id_]
    assert own.parent_id is not None
    assert own.parent_id.startswith("RetrieverQueryEngine.")


def test_an_index_as_query_engine(asked: Asked, reranker: RerankPostprocessor, colour: str) -> None:
    index = VectorStoreIndex([TextNode(text=text) for text in TEXTS], embed_model=MockEmbedding(embed_dim=4))
    engine = index.as_query_engine(llm=MockLLM(), similarity_top_k=3, node_postprocessors=[reranker])
    assert texts(run(colour, engine, "query", "q").source_nodes) == BEST
    check(asked, colour)


def test_what_follows_in_the_chain_sees_the_new_scores(reranker: RerankPostprocessor, colour: str) -> None:
    cutoff = SimilarityPostprocessor(similarity_cutoff=0.25)
    engine = RetrieverQueryEngine.from_args(Found(*TEXTS), llm=MockLLM(), node_postprocessors=[reranker, cutoff])
    assert texts(run(colour, engine, "query", "q").source_nodes) == ["second 0.3"]


def test_an_engine_whose_retriever_finds_nothing(asked: Asked, reranker: RerankPostprocessor, colour: str) -> None:
    with heard() as (events, _):
        answer = run(colour, query_engine(reranker, Found()), "query", "q")
    assert (answer.source_nodes, asked.calls, events.rerank) == ([], [], [])


def test_an_outage_is_the_engines_error_unless_it_is_told_otherwise(colour: str) -> None:
    failing = Asked()
    failing.fail(ServerError("down"), times=2)
    with pytest.raises(ServerError, match="down"):
        run(colour, query_engine(RerankPostprocessor(reranker=failing)), "query", "q")
    soft = RerankPostprocessor(reranker=failing, on_error="passthrough", top_n=2)
    assert texts(run(colour, query_engine(soft), "query", "q").source_nodes) == list(TEXTS[:2])


@pytest.mark.parametrize("kind", [ContextChatEngine, CondensePlusContextChatEngine])
def test_chat_engines(kind: Any, asked: Asked, reranker: RerankPostprocessor, colour: str) -> None:
    engine = kind.from_defaults(retriever=Found(*TEXTS), llm=MockLLM(), memory=memory(), node_postprocessors=[reranker])
    answer = run(colour, engine, "chat", "q")
    assert texts(answer.source_nodes) == BEST
    check(asked, colour, since=ASYNC_EVERYWHERE)


def test_a_streaming_chat(asked: Asked, reranker: RerankPostprocessor) -> None:
    engine = ContextChatEngine.from_defaults(
        retriever=Found(*TEXTS), llm=MockLLM(), memory=memory(), node_postprocessors=[reranker]
    )
    answer = engine.stream_chat("q")
    assert "".join(answer.response_gen).index("second 0.3") > 0
    assert texts(answer.source_nodes) == BEST


def test_citation_query_engine(asked: Asked, reranker: RerankPostprocessor, colour: str) -> None:
    engine = CitationQueryEngine(Found(*TEXTS), llm=MockLLM(), node_postprocessors=[reranker])
    answer = run(colour, engine, "query", "q")
    assert [text.partition("\n")[2].strip() for text in texts(answer.source_nodes)] == BEST
    assert texts(answer.source_nodes)[0].startswith("Source 1:")
    check(asked, colour, since=ASYNC_EVERYWHERE)


class First(BaseSelector):
    """Always the first choice."""

    def _select(self, choices: Any, query: Any) -> SelectorResult:
        return SelectorResult(selections=[SingleSelection(index=0, reason="it is the first")])

    async def _aselect(self, choices: Any, query: Any) -> SelectorResult:
        return self._select(choices, query)

    def _get_prompts(self) -> dict[str, Any]:
        return {}

    def _update_prompts(self, prompts: Any) -> None:
        pass


def test_router_query_engine(asked: Asked, reranker: RerankPostprocessor, colour: str) -> None:
    tool = QueryEngineTool.from_defaults(query_engine(reranker), name="handbook", description="what it says")
    router = RouterQueryEngine(First(), [tool], llm=MockLLM())
    assert texts(run(colour, router, "query", "q").source_nodes) == BEST
    check(asked, colour)


def retriever_tool(reranker: RerankPostprocessor) -> RetrieverTool:
    metadata = ToolMetadata(name="handbook", description="what the handbook says")
    return RetrieverTool(Found(*TEXTS), metadata, node_postprocessors=[reranker])


def test_retriever_tool(asked: Asked, reranker: RerankPostprocessor, colour: str) -> None:
    tool = retriever_tool(reranker)
    output = tool.call("q") if colour == "sync" else asyncio.run(tool.acall("q"))
    assert texts(output.raw_output) == BEST
    assert output.content.index("second 0.3") < output.content.index("third 0.2")
    check(asked, colour, since=ASYNC_EVERYWHERE)


class Retrieved(Event):
    nodes: list[NodeWithScore]


class Answering(Workflow):
    """Retrieves, then reranks."""

    def __init__(self, reranker: RerankPostprocessor) -> None:
        super().__init__(timeout=20)
        self.reranker = reranker

    @step
    async def retrieve(self, event: StartEvent) -> Retrieved:
        return Retrieved(nodes=await Found(*TEXTS).aretrieve(event.query))

    @step
    async def rerank(self, event: Retrieved) -> StopEvent:
        return StopEvent(result=await self.reranker.apostprocess_nodes(event.nodes, query_str="q"))


def test_a_workflows_step(asked: Asked, reranker: RerankPostprocessor) -> None:
    async def main() -> Any:
        return await Answering(reranker).run(query="q")

    assert texts(asyncio.run(main())) == BEST
    check(asked, "async")


def ask_agent(reranker: RerankPostprocessor) -> str:
    async def main() -> str:
        agent = FunctionAgent(tools=[retriever_tool(reranker)], llm=CallsOneTool())
        return str(await agent.run("when does the ferry leave?", memory=memory()))

    return asyncio.run(main())


def test_a_function_agents_tool(asked: Asked, reranker: RerankPostprocessor) -> None:
    answer = ask_agent(reranker)
    assert answer.index("second 0.3") < answer.index("third 0.2")
    check(asked, "async", "when does the ferry leave?", since=ASYNC_EVERYWHERE)


def test_an_agents_model_is_told_what_went_wrong(asked: Asked, reranker: RerankPostprocessor) -> None:
    """Agents turn errors into text for the model: the text alone must say it."""
    asked.fail(RateLimitError("too many requests: wait, or buy more", provider="cohere", status_code=429))
    assert "cohere: too many requests: wait, or buy more (status 429)" in ask_agent(reranker)


def test_retriever_evaluator(asked: Asked, reranker: RerankPostprocessor, colour: str) -> None:
    """It calls in the blocking way even within a loop: LlamaIndex's own doing."""
    evaluator = RetrieverEvaluator.from_metric_names(["mrr"], retriever=Found(*TEXTS), node_postprocessors=[reranker])
    result = run(colour, evaluator, "evaluate", query="q", expected_ids=["second"])
    assert result.retrieved_texts == BEST
    assert result.metric_vals_dict["mrr"] == 1.0, "it was the second of the retriever, and is the first of the reranker"
    assert [call.query for call in asked.calls] == ["q"]


def test_query_fusion_retriever(asked: Asked, reranker: RerankPostprocessor, colour: str) -> None:
    fused = QueryFusionRetriever(
        [Found(*TEXTS[:2]), Found(*TEXTS[1:])],
        llm=MockLLM(),
        num_queries=1,
        similarity_top_k=10,
        mode="reciprocal_rerank",
        use_async=False,
    )
    answer = run(colour, query_engine(reranker, fused), "query", "q")
    assert texts(answer.source_nodes) == BEST
    assert sorted(asked.calls[0].texts) == sorted(TEXTS)
    check(asked, colour)


def test_one_reranker_serves_two_engines_and_many_loops_over_a_real_socket() -> None:
    with recorder(COHERE.scored(lambda query, text: float(text.split()[-1]))) as server:
        with CohereRerank(api_key=KEY, base_url=server.url, top_n=1) as reranker:
            engines = query_engine(reranker), query_engine(reranker)
            for engine in engines:
                for colour in ("sync", "async", "async"):
                    assert texts(run(colour, engine, "query", "q").source_nodes) == BEST[:1]
    assert len(server.requests) == 6
    assert [request.json["query"] for request in server.requests] == ["q"] * 6
