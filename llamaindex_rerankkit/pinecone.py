"""A postprocessor over Pinecone, with the service's options as fields."""

from __future__ import annotations

from llamaindex_rerankkit.postprocessor import BaseRerankPostprocessor
from rerankkit.settings.pinecone import PineconeSettings


class PineconeRerank(PineconeSettings, BaseRerankPostprocessor):
    """Reranks with Pinecone: ``PineconeRerank(model="bge-reranker-v2-m3", top_n=3)``; key from PINECONE_API_KEY."""
