"""What a user of LangChain writes, with every public name: never run, but read by mypy and pyright in strict mode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, assert_type

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import BaseDocumentCompressor, BaseDocumentTransformer, Document
from langchain_core.load.serializable import SerializedConstructor, SerializedNotImplemented
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import ConfigurableField, Runnable
from langchain_core.vectorstores import VectorStore
from pydantic import SecretStr

from langchain_rerankkit import (
    CohereRerank,
    KendraRerank,
    PineconeRerank,
    RerankCompressor,
    RerankInput,
    RerankRetriever,
    RerankTransformer,
    VoyageRerank,
)
from rerankkit import Client, Reranker, Retry


def keys_are_texts_or_secrets_and_options_are_known(key: SecretStr) -> list[BaseDocumentCompressor]:
    return [
        CohereRerank(
            api_key=key, model="rerank-v5.0-fast", relevant_spans={"max_spans": 2}, cut_to_spans=True, spans_key="spans"
        ),
        CohereRerank(api_key="k", top_n=3, min_score=0.2, timeout=2.0, retry=Retry(attempts=1), on_error="passthrough"),
        CohereRerank(api_version="v1", max_chunks_per_doc=3, return_documents=True, rank_fields=["title", "text"]),
        CohereRerank(max_tokens_per_doc=512, priority=3, client_name="my-app", base_url="http://gateway", allow_http=True),
        VoyageRerank(api_key=key, model="rerank-2.5", instruction="i", return_documents=True, status_key=None),
        PineconeRerank(api_key="k", metadata_fields=["title"], rank_fields=["title", "text"], concurrency=2),
        PineconeRerank(model="cohere-rerank-4-fast", truncate="NONE", return_documents=True, transport="httpx2"),
        PineconeRerank(max_tokens_per_doc=512, max_chunks_per_doc=3, api_version="2025-10"),
        KendraRerank(plan_id="p" * 36, title_key="title", first_stage_score_key="score", region="us-east-1", overflow="error"),
        KendraRerank(plan_id="p" * 36, profile="work", fips=True, score_key="score"),
        KendraRerank(
            plan_id="p" * 36, aws_access_key_id="AKID", aws_secret_access_key=key, aws_session_token=SecretStr("session")
        ),
    ]


def names_of_other_packages_are_known(key: SecretStr) -> list[BaseDocumentCompressor]:
    return [
        CohereRerank(cohere_api_key=key, user_agent="my-app", top_n=3, base_url="https://gateway.example"),
        VoyageRerank(voyage_api_key="k", top_k=3, truncation=False),
        PineconeRerank(pinecone_api_key=key, rank_fields=["text"]),
    ]


def any_reranker_will_do(client: Client, own: Reranker) -> list[RerankCompressor]:
    return [
        RerankCompressor(reranker="cohere:rerank-v3.5", top_n=3),
        RerankCompressor(reranker={"type": "fallback", "rerankers": ["cohere", "passthrough"]}),
        RerankCompressor(reranker=client, score_key="score", name="second stage"),
        RerankCompressor(reranker=own, on_error="passthrough"),
    ]


async def compressing_answers_lists(compressor: CohereRerank, documents: Sequence[Document], told: BaseCallbackHandler) -> None:
    assert_type(compressor.compress_documents(documents, "q"), list[Document])
    assert_type(await compressor.acompress_documents(documents, "q", callbacks=[told]), list[Document])


async def a_compressor_is_a_runnable(compressor: VoyageRerank, documents: Sequence[Document]) -> None:
    given: RerankInput = {"query": "q", "documents": documents}
    runnable: Runnable[RerankInput, list[Document]] = compressor
    assert_type(compressor.invoke(given, {"run_name": "second stage"}, top_n=2), list[Document])
    assert_type(await compressor.ainvoke(RerankInput(query="q", documents=documents)), list[Document])
    assert_type(compressor.batch([given]), list[list[Document]])
    assert_type(await runnable.with_retry(stop_after_attempt=2).abatch([given]), list[list[Document]])
    configurable = compressor.configurable_fields(top_n=ConfigurableField(id="top_n"))
    assert_type(configurable.invoke(given), list[Document])


async def a_retriever_is_one(store: VectorStore, compressor: PineconeRerank) -> list[BaseRetriever]:
    retriever = RerankRetriever(base_retriever=store.as_retriever(), reranker=compressor, k=5, multiplier=8, max_candidates=200)
    assert_type(retriever.invoke("q", k=3), list[Document])
    assert_type(await retriever.ainvoke("q", top_n=3), list[Document])
    assert_type(retriever.compressor(), BaseDocumentCompressor)
    return [
        retriever,
        RerankRetriever(base_retriever=retriever, reranker="voyage:rerank-2.5", top_n=5, candidates=50),
        RerankRetriever(base_retriever=retriever, reranker={"type": "client", "service": "cohere"}),
    ]


def a_transformer_is_one(compressor: KendraRerank) -> BaseDocumentTransformer:
    transformer = RerankTransformer(query="q", reranker=compressor)
    assert_type(transformer.transform_documents([Document("a")]), Sequence[Document])
    return transformer


async def it_transforms_in_event_loops(transformer: RerankTransformer) -> Sequence[Document]:
    return await transformer.atransform_documents([Document("a")])


def what_is_written_down_has_the_names_of_keys(compressor: KendraRerank) -> None:
    assert_type(compressor.lc_secrets, dict[str, str])
    assert_type(compressor.lc_attributes, dict[str, Any])
    assert_type(KendraRerank.is_lc_serializable(), bool)
    assert_type(KendraRerank.provider, str)
    assert_type(RerankCompressor(reranker="local:bm25").to_json(), SerializedConstructor | SerializedNotImplemented)


def fields_may_be_changed_under_each_name(compressor: VoyageRerank, retriever: RerankRetriever) -> VoyageRerank:
    compressor.top_k = 3
    retriever.top_n = 3
    return compressor.model_copy(update={"top_k": 5})


async def all_can_be_closed(compressor: CohereRerank, retriever: RerankRetriever, transformer: RerankTransformer) -> None:
    with compressor as closing, retriever:
        assert_type(closing, CohereRerank)
    async with retriever as opened, transformer:
        assert_type(opened, RerankRetriever)
    transformer.close()
    await RerankCompressor(reranker="local:bm25").aclose()
    assert_type(compressor.client(), Client)
