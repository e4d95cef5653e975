"""rerankkit for LlamaIndex: node postprocessors that rerank.  (Extra: llamaindex.)"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llamaindex_rerankkit.cohere import CohereRerank
    from llamaindex_rerankkit.kendra import KendraRerank
    from llamaindex_rerankkit.nodes import RerankedNode
    from llamaindex_rerankkit.pinecone import PineconeRerank
    from llamaindex_rerankkit.postprocessor import RerankPostprocessor
    from llamaindex_rerankkit.voyage import VoyageRerank

_LAZY = {  # each is imported when it is first asked for: who needs one of them does not wait for the others
    "CohereRerank": "cohere",
    "KendraRerank": "kendra",
    "PineconeRerank": "pinecone",
    "RerankPostprocessor": "postprocessor",
    "RerankedNode": "nodes",
    "VoyageRerank": "voyage",
}

__all__ = ["CohereRerank", "KendraRerank", "PineconeRerank", "RerankPostprocessor", "RerankedNode", "VoyageRerank"]


def __getattr__(name: str) -> object:
    from rerankkit._lazily import found_beside  # noqa: PLC0415 -- nothing is imported before a name is asked for

    return found_beside(name, __name__, _LAZY, "llama-index-core", {"llama_index", "llama_index_instrumentation"})


def __dir__() -> list[str]:
    return __all__
