"""rerankkit for LlamaIndex: node postprocessors that rerank.  (Extra: llamaindex.)"""

from __future__ import annotations

try:
    from llamaindex_rerankkit.nodes import RerankedNode
    from llamaindex_rerankkit.postprocessor import RerankPostprocessor
    from llamaindex_rerankkit.services import CohereRerank, KendraRerank, PineconeRerank, VoyageRerank
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] not in {"llama_index", "llama_index_instrumentation"}:
        raise
    raise ModuleNotFoundError(
        "llamaindex_rerankkit needs llama-index-core: pip install 'rerankkit[llamaindex]'", name=error.name
    ) from error

__all__ = ["CohereRerank", "KendraRerank", "PineconeRerank", "RerankPostprocessor", "RerankedNode", "VoyageRerank"]
