"""A compressor over Pinecone, with the service's options as fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import SecretStr

from langchain_rerankkit._names import Names
from langchain_rerankkit.compressor import BaseRerankCompressor
from rerankkit.settings.pinecone import PineconeSettings


class PineconeRerank(Names, PineconeSettings, BaseRerankCompressor):
    """Reranks with Pinecone: ``PineconeRerank(model="bge-reranker-v2-m3", top_n=3)``; key from PINECONE_API_KEY.

    The names of langchain-pinecone's PineconeRerank are understood, too.
    """

    further_names: ClassVar[Mapping[str, str]] = {"pinecone_api_key": "api_key"}

    if TYPE_CHECKING:
        pinecone_api_key: SecretStr | str | None = None

    @property
    def lc_secrets(self) -> dict[str, str]:
        """The key, by its name in the environment."""
        return {"api_key": "PINECONE_API_KEY"}
