"""Services by their keys, and the frameworks' own classes for them."""

from __future__ import annotations

from typing import Any

import pytest

import langchain_rerankkit
import llamaindex_rerankkit
from helpers.services import KENDRA, PLAN_ID, POINTWISE, Service
from helpers.ways import WAYS
from rerankkit import (
    Cohere,
    Pinecone,
    Voyage,
)

ADAPTERS = (langchain_rerankkit, llamaindex_rerankkit)
CORE = [way for way in WAYS if way.package == "core"]
KEYED: dict[str, tuple[type[Any], str, str]] = {  # the class, and the variables of its key and its address
    "cohere": (Cohere, "CO_API_KEY", "CO_API_URL"),
    "voyage": (Voyage, "VOYAGE_API_KEY", "VOYAGE_BASE_URL"),
    "pinecone": (Pinecone, "PINECONE_API_KEY", "PINECONE_CONTROLLER_HOST"),
}
SECRET_PARTS = {**dict.fromkeys(KEYED, ("api_key",)), "kendra": ("aws_secret_access_key", "aws_session_token")}
keyed = pytest.mark.parametrize("service", POINTWISE, ids=lambda service: service.name)


def of(service: Service) -> Any:
    """The cases of one service alone."""
    return pytest.mark.parametrize("service", [service], ids=[service.name])


def adapter(module: Any, service: Service, **options: Any) -> Any:
    """A framework's own class for a service."""
    extra = {"plan_id": PLAN_ID, "region": "us-east-1"} if service is KENDRA else {}
    return getattr(module, f"{service.name.capitalize()}Rerank")(**extra, **options)
