"""What a user of LangChain writes, with every public name: never run, but read by mypy and pyright in strict mode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_type

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import BaseDocumentCompressor, BaseDocumentTransformer, Document
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
        VoyageRerank(api_key=key, instruction="i", status_key=None),
        PineconeRerank(api_key="k", metadata_fields=["title"], rank_fields=["title", "text"], concurrency=2),
        KendraRerank(plan_id="p" * 36, title_key="title", first_stage_score_key="score", region="us-east-1"),
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
        RerankCompressor(reranker=own),
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


async def all_can_be_closed(compressor: CohereRerank, retriever: RerankRetriever, transformer: RerankTransformer) -> None:
    with compressor as closing, retriever:
        assert_type(closing, CohereRerank)
    async with retriever as opened, transformer:
        assert_type(opened, RerankRetriever)
    transformer.close()
    await RerankCompressor(reranker="local:bm25").aclose()
    assert_type(compressor.client(), Client)
