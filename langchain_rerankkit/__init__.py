"""rerankkit for LangChain: document compressors, a retriever and a transformer that rerank.  (Extra: langchain.)"""

from __future__ import annotations

import importlib
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
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        found: object = getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "langchain_core":
            raise
        raise ModuleNotFoundError(
            "langchain_rerankkit needs langchain-core: pip install 'rerankkit[langchain]'", name=error.name
        ) from error
    return found


def __dir__() -> list[str]:
    return __all__
