"""rerankkit for LangChain: document compressors that rerank.  (Extra: langchain.)"""

from __future__ import annotations

try:
    from langchain_rerankkit.compressor import RerankCompressor
    from langchain_rerankkit.services import CohereRerank, KendraRerank, PineconeRerank, VoyageRerank
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] != "langchain_core":
        raise
    raise ModuleNotFoundError(
        "langchain_rerankkit needs langchain-core: pip install 'rerankkit[langchain]'", name=error.name
    ) from error

__all__ = ["CohereRerank", "KendraRerank", "PineconeRerank", "RerankCompressor", "VoyageRerank"]
