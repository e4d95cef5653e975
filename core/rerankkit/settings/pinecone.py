"""What Pinecone can be told."""

from __future__ import annotations

from typing import Literal

from rerankkit.providers import pinecone
from rerankkit.settings.services import Key, ServiceSettings


class PineconeSettings(ServiceSettings):
    """The options of `rerankkit.Pinecone`, which describes them."""

    provider = "pinecone"

    model: str = pinecone.DEFAULT_MODEL
    api_key: Key = None
    rank_fields: list[str] | None = None
    return_documents: bool = False
    truncate: Literal["END", "NONE"] | None = None
    max_tokens_per_doc: int | None = None
    max_chunks_per_doc: int | None = None
    api_version: str = pinecone.API_VERSION
