"""LangChain's own tests of a retriever, run by test_langchain_standard.py."""

from __future__ import annotations

from typing import Any

from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_tests.integration_tests import RetrieversIntegrationTests

from langchain_rerankkit import RerankRetriever


class Library(BaseRetriever):
    """A base retriever that finds what it has."""

    def _get_relevant_documents(self, query: str, **_: Any) -> list[Document]:
        return [Document(f"page {number} about a {query}") for number in range(8)]


class TestRerankRetriever(RetrieversIntegrationTests):
    @property
    def retriever_constructor(self) -> type[RerankRetriever]:
        return RerankRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"base_retriever": Library(), "reranker": "local:bm25"}

    @property
    def retriever_query_example(self) -> str:
        return "ferry"
