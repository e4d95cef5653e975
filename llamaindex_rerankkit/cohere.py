"""A postprocessor over Cohere, with the service's options as fields."""

from __future__ import annotations

from llamaindex_rerankkit.postprocessor import BaseRerankPostprocessor
from rerankkit.settings.cohere import CohereSettings


class CohereRerank(CohereSettings, BaseRerankPostprocessor):
    """Reranks with Cohere: ``CohereRerank(model="rerank-v3.5", top_n=3)``; key from CO_API_KEY or COHERE_API_KEY."""
