"""The demo's ways to a ranking: plain Python, a LangChain retriever, a LlamaIndex query engine.

Each takes a reranker and gives a function from a query to the ids of the best passages.  The two frameworks are
imported only here, and only when the demo runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from rerankkit import Document, RerankResponse
from rerankkit.cli.collection import Collection, Passage
from rerankkit.reranker import BaseReranker

Way: TypeAlias = Callable[[str], list[str]]


class Core:
    """The reranker itself; it keeps its last answer for those who want to see more of it."""

    def __init__(self, collection: Collection, reranker: BaseReranker, candidates: int) -> None:
        self._collection = collection
        self._reranker = reranker
        self._candidates = candidates
        self.last: RerankResponse[Document] | None = None

    def __call__(self, query: str) -> list[str]:
        passages = self._collection.first_stage(query, self._candidates)
        self.last = self._reranker.rerank(query, [Document(_text(passage), id=passage.id) for passage in passages])
        return [passages[result.index].id for result in self.last]


def langchain_retriever(collection: Collection, reranker: BaseReranker, candidates: int) -> Way:
    """A retriever that fetches candidates and has them compressed.

    Raises:
        ModuleNotFoundError: LangChain is not installed.
    """
    from langchain_core.callbacks import CallbackManagerForRetrieverRun  # noqa: PLC0415 -- optional
    from langchain_core.documents import Document as LangChainDocument  # noqa: PLC0415 -- optional
    from langchain_core.retrievers import BaseRetriever  # noqa: PLC0415 -- optional

    from langchain_rerankkit import RerankCompressor  # noqa: PLC0415 -- optional

    class RerankedRetriever(BaseRetriever):
        compressor: RerankCompressor

        def _get_relevant_documents(
            self, query: str, *, run_manager: CallbackManagerForRetrieverRun
        ) -> list[LangChainDocument]:
            passages = collection.first_stage(query, candidates)
            found = [LangChainDocument(_text(passage), id=passage.id) for passage in passages]
            return list(self.compressor.compress_documents(found, query, callbacks=run_manager.get_child()))

    retriever = RerankedRetriever(compressor=RerankCompressor(reranker=reranker))
    return lambda query: [document.id or "" for document in retriever.invoke(query)]


def llamaindex_engine(collection: Collection, reranker: BaseReranker, candidates: int) -> Way:
    """A query engine without a language model, which answers with its source nodes.

    Raises:
        ModuleNotFoundError: LlamaIndex is not installed.
    """
    from llama_index.core.base.base_retriever import BaseRetriever  # noqa: PLC0415 -- optional
    from llama_index.core.llms import MockLLM  # noqa: PLC0415 -- optional
    from llama_index.core.query_engine import RetrieverQueryEngine  # noqa: PLC0415 -- optional
    from llama_index.core.response_synthesizers.no_text import NoText  # noqa: PLC0415 -- optional
    from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode  # noqa: PLC0415 -- optional

    from llamaindex_rerankkit import RerankPostprocessor  # noqa: PLC0415 -- optional

    class FirstStageRetriever(BaseRetriever):
        def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
            found: Sequence[Passage] = collection.first_stage(query_bundle.query_str, candidates)
            return [NodeWithScore(node=TextNode(id_=passage.id, text=_text(passage))) for passage in found]

    engine = RetrieverQueryEngine(
        retriever=FirstStageRetriever(),
        response_synthesizer=NoText(llm=MockLLM()),
        node_postprocessors=[RerankPostprocessor(reranker=reranker)],
    )
    return lambda query: [found.node.node_id for found in engine.query(query).source_nodes]


def _text(passage: Passage) -> str:
    return f"{passage.title}\n{passage.text}"
