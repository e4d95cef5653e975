"""What Cohere can be told."""

from __future__ import annotations

from typing import Literal

from rerankkit.providers import cohere
from rerankkit.settings.services import Key, ServiceSettings


class CohereSettings(ServiceSettings):
    """The options of `rerankkit.Cohere`, which describes them."""

    provider = "cohere"

    model: str = cohere.DEFAULT_MODEL
    api_key: Key = None
    api_version: Literal["v2", "v1"] = "v2"
    rank_fields: list[str] | None = None
    max_tokens_per_doc: int | None = None
    priority: int | None = None
    relevant_spans: bool | dict[str, int | float] | None = None  # pydantic would make a float of max_spans
    return_documents: bool = False
    max_chunks_per_doc: int | None = None
    client_name: str | None = None
