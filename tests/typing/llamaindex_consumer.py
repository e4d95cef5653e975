"""What a user of LlamaIndex writes, with every public name of llamaindex_rerankkit: never run, but read by both checkers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, assert_type

from llama_index.core.callbacks import CallbackManager
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle, TextNode
from pydantic import SecretStr

from llamaindex_rerankkit import CohereRerank, KendraRerank, PineconeRerank, RerankedNode, RerankPostprocessor, VoyageRerank
from llamaindex_rerankkit.events import RerankDegradedEvent
from rerankkit import Attempt, Client, Reranker, Retry, Span, connect


def every_service_has_typed_options() -> list[BaseNodePostprocessor]:
    cohere = CohereRerank(
        model="rerank-v3.5",
        api_key=SecretStr("k"),
        base_url="https://gateway.example",
        top_n=3,
        min_score=0.2,
        timeout=5.0,
        retry=Retry(attempts=2),
        concurrency=4,
        transport="httpx2",
        on_error="passthrough",
        metadata_mode=MetadataMode.EMBED,
        keep_retrieval_score=True,
        rank_fields=["title", "text"],
        metadata_fields=["title"],
        title_key="title",
        callback_manager=CallbackManager([]),
    )
    voyage = VoyageRerank(model="rerank-2.5", api_key="k", truncation=False, instruction="prefer rules")
    pinecone = PineconeRerank(model="bge-reranker-v2-m3", api_key="k", truncate="END", top_n=None)
    kendra = KendraRerank(plan_id="p" * 36, region="us-east-1", title_key="title", overflow="error")
    return [cohere, voyage, pinecone, kendra]


def what_is_special_of_a_service_is_typed_too(key: SecretStr) -> list[BaseNodePostprocessor]:
    return [
        CohereRerank(model="rerank-v5.0-fast", relevant_spans={"max_spans": 2}, priority=3, client_name="my-app"),
        CohereRerank(api_version="v1", max_chunks_per_doc=3, return_documents=True),
        CohereRerank(max_tokens_per_doc=512, base_url="http://gateway", allow_http=True),
        VoyageRerank(api_key=key, return_documents=True),
        PineconeRerank(rank_fields=["text"], return_documents=True, api_version="2025-10"),
        PineconeRerank(model="cohere-rerank-4-fast", max_tokens_per_doc=512, max_chunks_per_doc=3),
        KendraRerank(plan_id="p" * 36, profile="work", fips=True),
        KendraRerank(
            plan_id="p" * 36, aws_access_key_id="AKID", aws_secret_access_key=key, aws_session_token=SecretStr("session")
        ),
    ]


def any_reranker_will_do(client: Client, reranker: Reranker, description: Mapping[str, object]) -> RerankPostprocessor:
    for one in (client, connect("local:bm25"), reranker):
        assert_type(RerankPostprocessor(reranker=one, top_n=3).top_n, int | None)
    RerankPostprocessor(reranker=description, keep_retrieval_score=True)
    return RerankPostprocessor(reranker="cohere:rerank-v3.5", on_error="raise")


def the_names_of_llamaindexs_own_classes_are_known() -> int | None:
    CohereRerank(top_n=2, model="rerank-english-v3.0", api_key="k", base_url=None)
    PineconeRerank(top_n=2, model="bge-reranker-v2-m3", api_key="k")
    voyage = VoyageRerank(model="rerank-2", api_key="k", top_k=3, truncation=True)
    voyage.top_k = 2
    return voyage.top_k


async def both_colours_give_nodes(reranker: CohereRerank) -> None:
    nodes = [NodeWithScore(node=TextNode(text="a"), score=0.5)]
    with reranker:
        assert_type(reranker.postprocess_nodes(nodes, query_str="q"), list[NodeWithScore])
    async with reranker as entered:
        assert_type(entered, CohereRerank)
        found = await entered.apostprocess_nodes(nodes, QueryBundle("q"))
    if isinstance(found[0], RerankedNode):
        assert_type(found[0].retrieval_score, float | None)
        assert_type(found[0].spans, tuple[Span, ...])
    await reranker.aclose()
    reranker.close()


def fields_may_be_changed(reranker: PineconeRerank) -> Client:
    reranker.callback_manager = CallbackManager([])
    reranker.api_key = "other"
    reranker.metadata_mode = MetadataMode.LLM
    other = reranker.model_copy(update={"base_url": "https://gateway.example"})
    assert_type(other, PineconeRerank)
    return other.client()


def dumps_are_plain(reranker: VoyageRerank) -> VoyageRerank:
    dumped: dict[str, Any] = reranker.to_dict()
    text: str = reranker.to_json()
    assert_type(VoyageRerank.class_name(), str)
    VoyageRerank.from_json(text, api_key="k")
    return VoyageRerank.from_dict(dumped, api_key="k")


def ones_own_postprocessors_are_tried_with_nodes_as_they_come(node: TextNode) -> list[NodeWithScore]:
    return [RerankedNode(node=node, score=0.7, retrieval_score=0.5, spans=(Span(0, 4, 0.9),))]


def ones_own_handlers_are_tried_with_events_as_they_come(turn: Attempt) -> RerankDegradedEvent:
    assert_type(CohereRerank.provider, str)
    return RerankDegradedEvent(status="degraded", served_by="passthrough", attempts=(turn,))


def events_say_who_served(event: RerankDegradedEvent) -> tuple[str, str, int]:
    return event.status, event.served_by, len(event.attempts)
