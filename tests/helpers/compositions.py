"""Every wrapper around one client, and six compositions of several, as the contract tests call them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rerankkit import BaseReranker, Client, Price, Provider
from rerankkit.resilience import (
    Budget,
    Cached,
    CircuitBreaker,
    ConcurrencyLimited,
    Ensemble,
    Fallback,
    Hedged,
    MinScore,
    Passthrough,
    RateLimited,
    Windowed,
)

Wrap = Callable[[Client], BaseReranker]

QUICK = 1_000.0  # requests a second; no test is held up by it
LATER = 60.0  # seconds; no test is so slow that a hedge begins


def prices_of(provider: Provider) -> dict[str, Price]:
    """A price for each request, so that budgets can be kept."""
    return {provider.model or "rescore": Price(0.001, 1, "request")}


ALONE: Mapping[str, Wrap] = {
    "Budget": lambda client: Budget(client, per_run=1e6),
    "Cached": Cached,
    "CircuitBreaker": CircuitBreaker,
    "ConcurrencyLimited": ConcurrencyLimited,
    "Ensemble": Ensemble,
    "Fallback": Fallback,
    "Hedged": lambda client: Hedged(client, delay=LATER),
    "MinScore": lambda client: MinScore(client, -1e9),
    "RateLimited": lambda client: RateLimited(client, requests_per_second=QUICK, burst=100),
    "Windowed": Windowed,
}

TOGETHER: Mapping[str, Wrap] = {
    "a cache before a breaker before limits": lambda client: Cached(
        CircuitBreaker(ConcurrencyLimited(RateLimited(client, requests_per_second=QUICK, burst=100)))
    ),
    "a fallback over a cache over a hedge": lambda client: Fallback(Cached(Hedged(client, delay=LATER)), client),
    "an ensemble of a cached one and a limited one": lambda client: Ensemble(Cached(client), ConcurrencyLimited(client)),
    "a budget over windows over a cache": lambda client: Budget(Windowed(Cached(client)), per_run=1e6),
    "a threshold over an adaptive limit over a fallback": lambda client: MinScore(
        ConcurrencyLimited(Fallback(client, client), adaptive=True), -1e9
    ),
    "a hedge of breakers": lambda client: Hedged(CircuitBreaker(client), CircuitBreaker(client), delay=LATER),
}

ALL = {**ALONE, **TOGETHER}
FUSING = frozenset({"Ensemble", "an ensemble of a cached one and a limited one"})  # whose scores are of their own making
CUTTING = frozenset({"MinScore", "a threshold over an adaptive limit over a fallback"})  # leave out what has no score


def degrading(wrap: Wrap) -> Wrap:
    """The same, behind which nobody ranks."""
    return lambda client: Fallback(wrap(client), Passthrough())
