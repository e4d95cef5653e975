"""Wrappers around rerankers, each of which is a reranker: they are composed as one likes."""

from __future__ import annotations

from rerankkit.resilience.fallback import Fallback
from rerankkit.resilience.passthrough import Passthrough

__all__ = ["Fallback", "Passthrough"]
