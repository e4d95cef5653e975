"""One postprocessor a service, with the service's options as fields."""

from __future__ import annotations

from llamaindex_rerankkit.postprocessor import BaseRerankPostprocessor
from rerankkit.settings import CohereSettings, KendraSettings, PineconeSettings, VoyageSettings


class CohereRerank(CohereSettings, BaseRerankPostprocessor):
    """Reranks with Cohere: ``CohereRerank(model="rerank-v3.5", top_n=3)``; key from CO_API_KEY or COHERE_API_KEY."""


class VoyageRerank(VoyageSettings, BaseRerankPostprocessor):
    """Reranks with Voyage AI / MongoDB: ``VoyageRerank(model="rerank-2.5", top_n=3)``; key from VOYAGE_API_KEY."""


class PineconeRerank(PineconeSettings, BaseRerankPostprocessor):
    """Reranks with Pinecone: ``PineconeRerank(model="bge-reranker-v2-m3", top_n=3)``; key from PINECONE_API_KEY."""


class KendraRerank(KendraSettings, BaseRerankPostprocessor):
    """Reranks with Amazon Kendra: ``KendraRerank(plan_id=..., top_n=3)``; AWS credentials as botocore finds them."""
