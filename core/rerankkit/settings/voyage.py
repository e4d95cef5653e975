"""What Voyage AI / MongoDB can be told."""

from __future__ import annotations

from rerankkit.providers import voyage
from rerankkit.settings.services import Key, ServiceSettings


class VoyageSettings(ServiceSettings):
    """The options of `rerankkit.Voyage`, which describes them."""

    provider = "voyage"

    model: str = voyage.DEFAULT_MODEL
    api_key: Key = None
    truncation: bool = True
    return_documents: bool = False
    instruction: str | None = None
