"""A compressor over Voyage AI / MongoDB, with the service's options as fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import SecretStr

from langchain_rerankkit._names import Names
from langchain_rerankkit.compressor import BaseRerankCompressor
from rerankkit.settings.voyage import VoyageSettings


class VoyageRerank(Names, VoyageSettings, BaseRerankCompressor):
    """Reranks with Voyage AI / MongoDB: ``VoyageRerank(model="rerank-2.5", top_n=3)``; key from VOYAGE_API_KEY.

    The names of langchain-voyageai's VoyageAIRerank are understood, too.
    """

    further_names: ClassVar[Mapping[str, str]] = {"voyage_api_key": "api_key", "top_k": "top_n"}

    if TYPE_CHECKING:
        voyage_api_key: SecretStr | str | None = None
        top_k: int | None = None

    @property
    def lc_secrets(self) -> dict[str, str]:
        """The key, by its name in the environment."""
        return {"api_key": "VOYAGE_API_KEY"}
