"""One compressor a service, with the service's options as fields."""

from __future__ import annotations

from langchain_rerankkit._names import CohereNames, PineconeNames, VoyageNames
from langchain_rerankkit.compressor import BaseRerankCompressor
from rerankkit.settings import CohereSettings, KendraSettings, PineconeSettings, VoyageSettings


class CohereRerank(CohereNames, CohereSettings, BaseRerankCompressor):
    """Reranks with Cohere: ``CohereRerank(model="rerank-v3.5", top_n=3)``; key from CO_API_KEY or COHERE_API_KEY."""

    @property
    def lc_secrets(self) -> dict[str, str]:
        """The key, by its name in the environment."""
        return {"api_key": "COHERE_API_KEY"}


class VoyageRerank(VoyageNames, VoyageSettings, BaseRerankCompressor):
    """Reranks with Voyage AI / MongoDB: ``VoyageRerank(model="rerank-2.5", top_n=3)``; key from VOYAGE_API_KEY."""

    @property
    def lc_secrets(self) -> dict[str, str]:
        """The key, by its name in the environment."""
        return {"api_key": "VOYAGE_API_KEY"}


class PineconeRerank(PineconeNames, PineconeSettings, BaseRerankCompressor):
    """Reranks with Pinecone: ``PineconeRerank(model="bge-reranker-v2-m3", top_n=3)``; key from PINECONE_API_KEY."""

    @property
    def lc_secrets(self) -> dict[str, str]:
        """The key, by its name in the environment."""
        return {"api_key": "PINECONE_API_KEY"}


class KendraRerank(KendraSettings, BaseRerankCompressor):
    """Reranks with Amazon Kendra: ``KendraRerank(plan_id=..., top_n=3)``; AWS credentials as botocore finds them."""

    @property
    def lc_secrets(self) -> dict[str, str]:
        """The credentials, by their names in the environment."""
        names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
        return {name: name.upper() for name in names}
