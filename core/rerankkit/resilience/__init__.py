"""Wrappers around rerankers, each of which is a reranker: they are composed as one likes."""

from __future__ import annotations

from rerankkit.resilience.budget import Budget
from rerankkit.resilience.cached import Cached
from rerankkit.resilience.circuit_breaker import CircuitBreaker
from rerankkit.resilience.concurrency_limited import ConcurrencyLimited
from rerankkit.resilience.ensemble import Ensemble, FirstStage
from rerankkit.resilience.fallback import Fallback
from rerankkit.resilience.hedged import Hedged
from rerankkit.resilience.min_score import MinScore
from rerankkit.resilience.passthrough import Passthrough
from rerankkit.resilience.rate_limited import RateLimited
from rerankkit.resilience.stores import MemoryStore, RedisStore, SQLiteStore, Store
from rerankkit.resilience.windowed import Windowed

__all__ = [
    "Budget",
    "Cached",
    "CircuitBreaker",
    "ConcurrencyLimited",
    "Ensemble",
    "Fallback",
    "FirstStage",
    "Hedged",
    "MemoryStore",
    "MinScore",
    "Passthrough",
    "RateLimited",
    "RedisStore",
    "SQLiteStore",
    "Store",
    "Windowed",
]
