"""Reranking through Cohere, Voyage AI / MongoDB, Pinecone and Amazon Kendra, for sync and async code alike."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from rerankkit._version import __version__
from rerankkit.errors import (
    APIConnectionError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    DeadlineExceededError,
    InvalidRequestError,
    InvalidResponseError,
    NotFoundError,
    PaymentRequiredError,
    PermissionDeniedError,
    ProviderError,
    RateLimitError,
    RequestTooLargeError,
    RerankError,
    ServerError,
)
from rerankkit.reranker import BaseReranker, Reranker
from rerankkit.retry import Retry
from rerankkit.types import (
    Document,
    RankedDocument,
    RerankRequest,
    RerankResponse,
    Span,
    Usage,
)

if TYPE_CHECKING:
    from rerankkit._connect import connect
    from rerankkit._plan_answers import CreatedPlan, Plan, PlanSummary
    from rerankkit.client import Client
    from rerankkit.kendra_plans import KendraPlans
    from rerankkit.local import BM25
    from rerankkit.provider import Limits, Model, Price, Provider
    from rerankkit.providers.cohere import Cohere
    from rerankkit.providers.kendra import Kendra
    from rerankkit.providers.pinecone import Pinecone
    from rerankkit.providers.voyage import Voyage

_LAZY = {  # what brings pydantic or the providers with it is imported when it is first asked for
    "BM25": "local",
    "Client": "client",
    "Cohere": "providers.cohere",
    "CreatedPlan": "_plan_answers",
    "Kendra": "providers.kendra",
    "KendraPlans": "kendra_plans",
    "Limits": "provider",
    "Model": "provider",
    "Pinecone": "providers.pinecone",
    "Plan": "_plan_answers",
    "PlanSummary": "_plan_answers",
    "Price": "provider",
    "Provider": "provider",
    "Voyage": "providers.voyage",
    "connect": "_connect",
}

__all__ = [
    "BM25",
    "APIConnectionError",
    "AuthenticationError",
    "BadRequestError",
    "BaseReranker",
    "Client",
    "Cohere",
    "ConflictError",
    "CreatedPlan",
    "DeadlineExceededError",
    "Document",
    "InvalidRequestError",
    "InvalidResponseError",
    "Kendra",
    "KendraPlans",
    "Limits",
    "Model",
    "NotFoundError",
    "PaymentRequiredError",
    "PermissionDeniedError",
    "Pinecone",
    "Plan",
    "PlanSummary",
    "Price",
    "Provider",
    "ProviderError",
    "RankedDocument",
    "RateLimitError",
    "RequestTooLargeError",
    "RerankError",
    "RerankRequest",
    "RerankResponse",
    "Reranker",
    "Retry",
    "ServerError",
    "Span",
    "Usage",
    "Voyage",
    "__version__",
    "connect",
]


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)


def __dir__() -> list[str]:
    return __all__
