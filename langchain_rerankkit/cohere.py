"""A compressor over Cohere, with the service's options as fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import SecretStr

from langchain_rerankkit._names import Names
from langchain_rerankkit.compressor import BaseRerankCompressor
from rerankkit.settings.cohere import CohereSettings


class CohereRerank(Names, CohereSettings, BaseRerankCompressor):
    """Reranks with Cohere: ``CohereRerank(model="rerank-v3.5", top_n=3)``; key from CO_API_KEY or COHERE_API_KEY.

    The names of langchain-cohere's CohereRerank are understood, too.
    """

    further_names: ClassVar[Mapping[str, str]] = {"cohere_api_key": "api_key", "user_agent": "client_name"}

    if TYPE_CHECKING:
        cohere_api_key: SecretStr | str | None = None
        user_agent: str | None = None

    @property
    def lc_secrets(self) -> dict[str, str]:
        """The key, by its name in the environment."""
        return {"api_key": "COHERE_API_KEY"}
