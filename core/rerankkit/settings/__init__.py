"""Options as the fields of pydantic models, for frameworks that are configured so.

The LangChain and LlamaIndex classes of a service are one of these and their framework's base class: what a service
can be told stands here once.  A test holds each against the arguments of its provider.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rerankkit import _lazily

if TYPE_CHECKING:
    from rerankkit.settings.adapters import AdapterSettings, Settings
    from rerankkit.settings.cohere import CohereSettings
    from rerankkit.settings.kendra import KendraSettings
    from rerankkit.settings.pinecone import PineconeSettings
    from rerankkit.settings.rerankers import RerankerSettings
    from rerankkit.settings.services import ServiceSettings
    from rerankkit.settings.voyage import VoyageSettings

_LAZY = {  # each is imported when it is first asked for: who needs one service does not wait for the others
    "AdapterSettings": "adapters",
    "CohereSettings": "cohere",
    "KendraSettings": "kendra",
    "PineconeSettings": "pinecone",
    "RerankerSettings": "rerankers",
    "ServiceSettings": "services",
    "Settings": "adapters",
    "VoyageSettings": "voyage",
}

__all__ = [
    "AdapterSettings",
    "CohereSettings",
    "KendraSettings",
    "PineconeSettings",
    "RerankerSettings",
    "ServiceSettings",
    "Settings",
    "VoyageSettings",
]


def __getattr__(name: str) -> object:
    return _lazily.found(name, __name__, _LAZY)


def __dir__() -> list[str]:
    return __all__
