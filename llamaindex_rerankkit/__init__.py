"""rerankkit for LlamaIndex: node postprocessors that rerank.  (Extra: llamaindex.)"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llamaindex_rerankkit.nodes import RerankedNode
    from llamaindex_rerankkit.postprocessor import RerankPostprocessor
    from llamaindex_rerankkit.services import CohereRerank, KendraRerank, PineconeRerank, VoyageRerank

_LAZY = {  # each is imported when it is first asked for: who needs one of them does not wait for the others
    "CohereRerank": "services",
    "KendraRerank": "services",
    "PineconeRerank": "services",
    "RerankPostprocessor": "postprocessor",
    "RerankedNode": "nodes",
    "VoyageRerank": "services",
}

__all__ = ["CohereRerank", "KendraRerank", "PineconeRerank", "RerankPostprocessor", "RerankedNode", "VoyageRerank"]


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        found: object = getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in {"llama_index", "llama_index_instrumentation"}:
            raise
        raise ModuleNotFoundError(
            "llamaindex_rerankkit needs llama-index-core: pip install 'rerankkit[llamaindex]'", name=error.name
        ) from error
    return found


def __dir__() -> list[str]:
    return __all__
