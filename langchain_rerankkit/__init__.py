"""rerankkit for LangChain: document compressors, a retriever and a transformer that rerank.  (Extra: langchain.)"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langchain_rerankkit._input import RerankInput
    from langchain_rerankkit.cohere import CohereRerank
    from langchain_rerankkit.compressor import RerankCompressor
    from langchain_rerankkit.kendra import KendraRerank
    from langchain_rerankkit.pinecone import PineconeRerank
    from langchain_rerankkit.retriever import RerankRetriever
    from langchain_rerankkit.transformer import RerankTransformer
    from langchain_rerankkit.voyage import VoyageRerank

_LAZY = {  # each is imported when it is first asked for: who needs one of them does not wait for the others
    "CohereRerank": "cohere",
    "KendraRerank": "kendra",
    "PineconeRerank": "pinecone",
    "RerankCompressor": "compressor",
    "RerankInput": "_input",
    "RerankRetriever": "retriever",
    "RerankTransformer": "transformer",
    "VoyageRerank": "voyage",
}

__all__ = [
    "CohereRerank",
    "KendraRerank",
    "PineconeRerank",
    "RerankCompressor",
    "RerankInput",
    "RerankRetriever",
    "RerankTransformer",
    "VoyageRerank",
]


def __getattr__(name: str) -> object:
    from rerankkit._lazily import found_beside  # noqa: PLC0415 -- nothing is imported before a name is asked for

    return found_beside(name, __name__, _LAZY, "langchain-core", {"langchain_core"})


def __dir__() -> list[str]:
    return __all__
