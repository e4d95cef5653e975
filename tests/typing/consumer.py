"""What a user writes, with every public name: never run, but read by mypy and pyright in strict mode."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, assert_type

from langchain_core.documents import BaseDocumentCompressor
from langchain_core.documents import Document as LangChainDocument
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, TextNode
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

import langchain_rerankkit
import llamaindex_rerankkit
from rerankkit import (
    BM25,
    BaseReranker,
    Client,
    Cohere,
    CreatedPlan,
    Document,
    Kendra,
    KendraPlans,
    Limits,
    Model,
    Pinecone,
    Plan,
    PlanSummary,
    Price,
    Provider,
    ProviderError,
    RankedDocument,
    Reranker,
    RerankResponse,
    Retry,
    Span,
    Usage,
    Voyage,
    connect,
)
from rerankkit.observability import Convention, instrument, uninstrument


def results_keep_the_type_of_the_documents(client: Client) -> None:
    assert_type(client.rerank("q", ["a", "b"]), RerankResponse[str])
    assert_type(client.rerank("q", [Document("a")]).results[0].document, Document)
    assert_type(client.rerank("q", [{"text": "a"}]).documents, list[dict[str, str]])
    mixed: list[str | Document] = ["a", Document("b")]
    assert_type(client.rerank("q", mixed).results[0], RankedDocument[str | Document])


def results_say_what_they_hold(response: RerankResponse[str]) -> None:
    result = response.results[0]
    assert_type(result.index, int)
    assert_type(result.relevance_score, float | None)
    assert_type(result.document, str)
    assert_type(result.spans, tuple[Span, ...])
    assert_type(response.usage, Usage)
    assert_type(response.request_id, str | None)
    assert_type(response.warnings, tuple[str, ...])
    for ranked in response:
        assert_type(ranked, RankedDocument[str])


async def both_colours_have_the_same_types(reranker: Reranker) -> None:
    assert_type(await reranker.arerank("q", ["a"], top_n=1, timeout=2.0), RerankResponse[str])
    async with connect("cohere:rerank-v3.5", priority=3) as connected:
        assert_type(connected, BaseReranker)


def providers_have_typed_options() -> Sequence[Provider]:
    return [
        Cohere("rerank-v5.0-fast", api_key="k", relevant_spans={"threshold": 0.1}, rank_fields=["title", "text"]),
        Voyage("rerank-2.5", instruction="prefer rules", truncation=False),
        Pinecone(truncate="END", rank_fields=("text",)),
        Kendra("p" * 36, region="us-east-1", overflow="error"),
    ]


def clients_have_typed_options(provider: Provider) -> Reranker:
    return Client(provider, timeout=2.0, retry=Retry(attempts=1), concurrency=4, transport="httpx2")


def attempts_are_a_number_or_the_usual_ones(retry: Retry) -> Retry:
    assert_type(retry.attempts, int | None)
    return Retry(attempts=None)


def a_ranker_of_ones_own_is_a_reranker() -> Reranker:
    return BM25(timeout=1.0)


def plans_are_typed(plans: KendraPlans) -> CreatedPlan:
    return plans.create("name", description="d", capacity_units=1, tags={"k": "v"}, client_token="t")


async def both_colours_of_plans_have_the_same_types(plans: KendraPlans, seen: list[str]) -> None:
    assert_type(plans.describe("p"), Plan)
    assert_type(await plans.adescribe("p"), Plan)
    assert_type(list(plans.list(page_size=5)), list[PlanSummary])
    assert_type([plan async for plan in plans.alist()], list[PlanSummary])
    plans.update("p", name="n", description="d", capacity_units=0)
    assert_type(plans.wait_active("p", timeout=60, progress=lambda plan: seen.append(plan.status)), Plan)
    assert_type(await plans.await_active("p", poll_seconds=1.0, progress=print), Plan)
    await plans.await_deleted("p")
    plans.tag("p", {"k": "v"})
    await plans.auntag("p", ("k",))
    assert_type(plans.tags("p"), dict[str, str])


def plans_say_what_is_known(plan: Plan) -> tuple[str, str, str, str, int | None, str | None, datetime | None, str | None]:
    return (
        *(plan.id, plan.arn, plan.name, plan.status),
        *(plan.capacity_units, plan.description, plan.created_at, plan.error_message),
    )


def catalogues_are_typed(model: Model) -> tuple[Limits, Price | None]:
    return model.limits, model.price


def errors_are_typed(error: ProviderError) -> tuple[int | None, str | None, float | None, int, bool]:
    return error.status_code, error.request_id, error.retry_after, error.attempts, error.retryable


def langchain_takes_plain_keys_and_any_reranker(client: Client) -> list[BaseDocumentCompressor]:
    compressors = [
        langchain_rerankkit.CohereRerank(api_key="k", model="rerank-v3.5", top_n=3, min_score=0.2),
        langchain_rerankkit.VoyageRerank(api_key="k", instruction="i"),
        langchain_rerankkit.PineconeRerank(api_key="k", metadata_fields=["title"]),
        langchain_rerankkit.KendraRerank(plan_id="p" * 36, title_key="title", first_stage_score_key="score"),
        langchain_rerankkit.RerankCompressor(reranker=client, score_key="score"),
        langchain_rerankkit.RerankCompressor(reranker="voyage:rerank-2.5"),
    ]
    assert_type(compressors[0].compress_documents([LangChainDocument("a")], "q"), list[LangChainDocument])
    return [*compressors]


def llamaindex_takes_plain_keys_and_any_reranker(client: Client) -> list[BaseNodePostprocessor]:
    postprocessors: list[BaseNodePostprocessor] = [
        llamaindex_rerankkit.CohereRerank(api_key="k", model="rerank-v3.5", top_n=3, min_score=0.2),
        llamaindex_rerankkit.VoyageRerank(api_key="k"),
        llamaindex_rerankkit.PineconeRerank(api_key="k"),
        llamaindex_rerankkit.KendraRerank(plan_id="p" * 36),
        llamaindex_rerankkit.RerankPostprocessor(reranker=client),
    ]
    nodes = [NodeWithScore(node=TextNode(text="a"))]
    assert_type(postprocessors[0].postprocess_nodes(nodes, query_str="q"), list[NodeWithScore])
    return postprocessors


def telemetry_is_asked_for(tracers: TracerProvider, meters: MeterProvider, conventions: Sequence[Convention]) -> None:
    assert_type(instrument(), bool)
    instrument(tracer_provider=tracers, meter_provider=meters, conventions=conventions, capture_content=True)
    instrument(conventions=["gen_ai", "openinference"], capture_scores=True)
    uninstrument()


class Shouting(BaseReranker):
    """A wrapper of one's own: write `_rerank` once, get both colours."""

    def __init__(self, inner: Reranker) -> None:
        self.inner = inner

    async def _rerank(self, io: Any, request: Any) -> Any:
        return self.inner.rerank(request.query.upper(), request.documents, top_n=request.top_n)
