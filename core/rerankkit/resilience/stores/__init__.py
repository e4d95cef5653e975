"""Where `Cached` keeps scores: a few plain ways, and the protocol for others."""

from __future__ import annotations

from rerankkit.resilience.stores.memory import MemoryStore
from rerankkit.resilience.stores.redis import RedisStore
from rerankkit.resilience.stores.sqlite import SQLiteStore
from rerankkit.resilience.stores.store import Store

__all__ = ["MemoryStore", "RedisStore", "SQLiteStore", "Store"]
