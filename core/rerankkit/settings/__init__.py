"""Options as the fields of pydantic models, for frameworks that are configured so.

The LangChain and LlamaIndex classes of a service are one of these and their framework's base class: what a service
can be told stands here once.  A test holds each against the arguments of its provider.
"""

from __future__ import annotations

from rerankkit.settings.adapters import AdapterSettings, Settings
from rerankkit.settings.rerankers import RerankerSettings
from rerankkit.settings.services import CohereSettings, KendraSettings, PineconeSettings, ServiceSettings, VoyageSettings

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
