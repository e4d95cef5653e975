"""Reranking through Cohere, Voyage AI / MongoDB, Pinecone and Amazon Kendra, for sync and async code alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rerankkit import _lazily
from rerankkit._version import __version__
from rerankkit.errors import (
    APIConnectionError,
    AuthenticationError,
    BadRequestError,
    BudgetExceededError,
    CircuitOpenError,
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
from rerankkit.money import Estimate
from rerankkit.reranker import BaseReranker, Reranker
from rerankkit.retry import Retry
from rerankkit.types import (
    Attempt,
    CacheUse,
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
    from rerankkit.calibration import Calibration, Threshold
    from rerankkit.client import Client
    from rerankkit.config import from_config, load_config, to_config
    from rerankkit.kendra_plans import KendraPlans
    from rerankkit.ledger import Account, Ledger, tagged
    from rerankkit.local import BM25
    from rerankkit.provider import Limits, Model, Price, Provider
    from rerankkit.providers.cohere import Cohere
    from rerankkit.providers.kendra import Kendra
    from rerankkit.providers.pinecone import Pinecone
    from rerankkit.providers.voyage import Voyage
    from rerankkit.resilience import (
        Budget,
        Cached,
        CircuitBreaker,
        ConcurrencyLimited,
        Ensemble,
        Fallback,
        FirstStage,
        Hedged,
        MemoryStore,
        MinScore,
        Passthrough,
        RateLimited,
        RedisStore,
        SQLiteStore,
        Windowed,
    )

_LAZY = {  # what brings pydantic or the providers with it is imported when it is first asked for
    "Account": "ledger",
    "BM25": "local",
    "Budget": "resilience",
    "Cached": "resilience",
    "Calibration": "calibration",
    "CircuitBreaker": "resilience",
    "Client": "client",
    "Cohere": "providers.cohere",
    "ConcurrencyLimited": "resilience",
    "CreatedPlan": "_plan_answers",
    "Ensemble": "resilience",
    "Fallback": "resilience",
    "FirstStage": "resilience",
    "Hedged": "resilience",
    "Kendra": "providers.kendra",
    "KendraPlans": "kendra_plans",
    "Ledger": "ledger",
    "Limits": "provider",
    "MemoryStore": "resilience",
    "MinScore": "resilience",
    "Model": "provider",
    "Passthrough": "resilience",
    "Pinecone": "providers.pinecone",
    "Plan": "_plan_answers",
    "PlanSummary": "_plan_answers",
    "Price": "provider",
    "Provider": "provider",
    "RateLimited": "resilience",
    "RedisStore": "resilience",
    "SQLiteStore": "resilience",
    "Threshold": "calibration",
    "Voyage": "providers.voyage",
    "Windowed": "resilience",
    "connect": "_connect",
    "from_config": "config",
    "load_config": "config",
    "tagged": "ledger",
    "to_config": "config",
}

__all__ = [
    "BM25",
    "APIConnectionError",
    "Account",
    "Attempt",
    "AuthenticationError",
    "BadRequestError",
    "BaseReranker",
    "Budget",
    "BudgetExceededError",
    "CacheUse",
    "Cached",
    "Calibration",
    "CircuitBreaker",
    "CircuitOpenError",
    "Client",
    "Cohere",
    "ConcurrencyLimited",
    "ConflictError",
    "CreatedPlan",
    "DeadlineExceededError",
    "Document",
    "Ensemble",
    "Estimate",
    "Fallback",
    "FirstStage",
    "Hedged",
    "InvalidRequestError",
    "InvalidResponseError",
    "Kendra",
    "KendraPlans",
    "Ledger",
    "Limits",
    "MemoryStore",
    "MinScore",
    "Model",
    "NotFoundError",
    "Passthrough",
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
    "RateLimited",
    "RedisStore",
    "RequestTooLargeError",
    "RerankError",
    "RerankRequest",
    "RerankResponse",
    "Reranker",
    "Retry",
    "SQLiteStore",
    "ServerError",
    "Span",
    "Threshold",
    "Usage",
    "Voyage",
    "Windowed",
    "__version__",
    "connect",
    "from_config",
    "load_config",
    "tagged",
    "to_config",
]


def __getattr__(name: str) -> object:
    return _lazily.found(name, __name__, _LAZY)


def __dir__() -> list[str]:
    return __all__
