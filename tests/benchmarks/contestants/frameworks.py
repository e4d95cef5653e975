"""How LangChain and LlamaIndex ask a reranker, whoever made it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.contestants.contestant import Contestant


class LangChainWay(Contestant):
    """Asks `compressor`, with what a retriever has found: LangChain's retrievers are Runnables, as our compressors are."""

    framework = (
        "from langchain_core.documents import BaseDocumentCompressor; from langchain_core.retrievers import BaseRetriever"
    )
    compressor: Any

    def prepare(self, texts: Sequence[str]) -> Any:
        from langchain_core.documents import Document

        return [Document(page_content=text, metadata={"number": number}) for number, text in enumerate(texts)]

    def rerank(self, query: str, documents: Any) -> Any:
        return self.compressor.compress_documents(documents, query)

    async def arerank(self, query: str, documents: Any) -> Any:
        return await self.compressor.acompress_documents(documents, query)

    def pairs(self, answer: Any) -> list[tuple[int, float]] | None:
        return [(document.metadata["number"], document.metadata["relevance_score"]) for document in answer]


class LlamaIndexWay(Contestant):
    """Asks `postprocessor`."""

    framework = "from llama_index.core.postprocessor.types import BaseNodePostprocessor"
    postprocessor: Any

    def prepare(self, texts: Sequence[str]) -> Any:
        from llama_index.core.schema import NodeWithScore, TextNode

        return [NodeWithScore(node=TextNode(text=text, id_=str(number)), score=0.0) for number, text in enumerate(texts)]

    def rerank(self, query: str, documents: Any) -> Any:
        return self.postprocessor.postprocess_nodes(documents, query_str=query)

    async def arerank(self, query: str, documents: Any) -> Any:
        return await self.postprocessor.apostprocess_nodes(documents, query_str=query)

    def pairs(self, answer: Any) -> list[tuple[int, float]] | None:
        return [(int(node.node.node_id), node.score) for node in answer]
