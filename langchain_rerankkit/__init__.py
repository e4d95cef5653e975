"""rerankkit for LangChain: document compressors, a retriever and a transformer that rerank.  (Extra: langchain.)"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langchain_rerankkit._input import RerankInput
    from langchain_rerankkit.compressor import RerankCompressor
    from langchain_rerankkit.retriever import RerankRetriever
    from langchain_rerankkit.services import CohereRerank, KendraRerank, PineconeRerank, VoyageRerank
    from langchain_rerankkit.transformer import RerankTransformer

_LAZY = {  # each is imported when it is first asked for: who needs one of them does not wait for the others
    "CohereRerank": "services",
    "KendraRerank": "services",
    "PineconeRerank": "services",
    "RerankCompressor": "compressor",
    "RerankInput": "_input",
    "RerankRetriever": "retriever",
    "RerankTransformer": "transformer",
    "VoyageRerank": "services",
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
