"""A logistic curve through judged values: how likely each is to be a true one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

Line: TypeAlias = tuple[float, float]
"""Slope and intercept of log-odds over values."""

MOST_STEPS = 100  # Newton's method needs about ten.  This and the next three: Lin, Lin and Weng 2007, algorithm 1
SHORTEST_STEP = 1e-10
RIDGE = 1e-12  # keeps what is divided by away from zero
SUFFICIENT = 1e-4  # of the decrease that a step promises
ENOUGH = 1e-18  # a promised decrease of the loss, in nats, that is not worth a step


def fit(values: Sequence[float], labels: Sequence[bool]) -> Line:
    """The curve under which *labels*, of which there are both, are most likely; *values* are about 1 in size.

    The targets are not 1 and 0, but what a uniform prior makes of as many labels (Platt 1999): values that tell the labels
    apart without a fault would ask for an infinite slope otherwise. Newton's method with backtracking, as in Lin, Lin and
    Weng, "A note on Platt's probabilistic outputs for support vector machines", Machine Learning 68, 2007.
    """
    true = sum(labels)
    false = len(labels) - true
    targets = [(true + 1) / (true + 2) if label else 1 / (false + 2) for label in labels]
    line = (0.0, math.log((true + 1) / (false + 1)))
    for _ in range(MOST_STEPS):
        further = _improved(line, values, targets)
        if further is None:
            break
        line = further
    return line


def log_odds(line: Line, value: float) -> float:
    """That of *value* being a true one."""
    slope, intercept = line
    return slope * value + intercept


def probability(odds: float) -> float:
    """``1 / (1 + exp(-odds))``, which does not overflow."""
    return 1 / (1 + math.exp(-odds)) if odds >= 0 else math.exp(odds) / (1 + math.exp(odds))


def loss(line: Line, values: Sequence[float], targets: Sequence[float]) -> float:
    """The sum of the negated logarithms of what the curve thinks of *targets*, in nats."""
    odds = [log_odds(line, value) for value in values]
    return math.fsum(max(z, 0.0) + math.log1p(math.exp(-abs(z))) - target * z for z, target in zip(odds, targets, strict=True))


def _improved(line: Line, values: Sequence[float], targets: Sequence[float]) -> Line | None:
    """A better line, one step of Newton's further; None where there is none."""
    by_slope, by_intercept, promised = _step(line, values, targets)
    if promised < ENOUGH:
        return None
    now, step = loss(line, values, targets), 1.0
    while step >= SHORTEST_STEP:
        further = (line[0] + step * by_slope, line[1] + step * by_intercept)
        if loss(further, values, targets) < now - SUFFICIENT * step * promised:
            return further
        step /= 2
    return None


def _step(line: Line, values: Sequence[float], targets: Sequence[float]) -> tuple[float, float, float]:
    """Where Newton's method leads, and how fast the loss decreases that way."""
    likely = [probability(log_odds(line, value)) for value in values]
    off = [found - target for found, target in zip(likely, targets, strict=True)]
    weights = [found * (1 - found) for found in likely]
    g_slope, g_intercept = math.fsum(d * x for d, x in zip(off, values, strict=True)), math.fsum(off)
    h_slope = math.fsum(w * x * x for w, x in zip(weights, values, strict=True)) + RIDGE
    h_both = math.fsum(w * x for w, x in zip(weights, values, strict=True))
    h_intercept = math.fsum(weights) + RIDGE
    determinant = h_slope * h_intercept - h_both * h_both
    by_slope = -(h_intercept * g_slope - h_both * g_intercept) / determinant
    by_intercept = -(h_slope * g_intercept - h_both * g_slope) / determinant
    return by_slope, by_intercept, -(g_slope * by_slope + g_intercept * by_intercept)
