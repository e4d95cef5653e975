"""rerankkit for LangChain: document compressors, a retriever and a transformer that rerank.  (Extra: langchain.)"""

from __future__ import annotations

try:
    from langchain_rerankkit.compressor import RerankCompressor, RerankInput
    from langchain_rerankkit.retriever import RerankRetriever
    from langchain_rerankkit.services import CohereRerank, KendraRerank, PineconeRerank, VoyageRerank
    from langchain_rerankkit.transformer import RerankTransformer
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] != "langchain_core":
        raise
    raise ModuleNotFoundError(
        "langchain_rerankkit needs langchain-core: pip install 'rerankkit[langchain]'", name=error.name
    ) from error

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
