"""What calls consume and what that costs.  What is not known is None, and never zero."""

from __future__ import annotations

from dataclasses import dataclass, field

from rerankkit.types import Usage


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a call is likely to consume.

    Attributes:
        usage: In the service's own units, requests without retries; None where the service counts no such unit.
        cost: In dollars (USD); None: unknown, because the price or the usage is.
    """

    usage: Usage = field(default_factory=Usage)
    cost: float | None = None

    def __add__(self, other: Estimate) -> Estimate:
        return Estimate(self.usage + other.usage, sum_of_costs(self.cost, other.cost))


FREE = Estimate(cost=0.0)
"""Of what sends no request."""


def sum_of_costs(*costs: float | None) -> float | None:
    """Their sum; None if one of them is unknown."""
    known = [cost for cost in costs if cost is not None]
    return sum(known) if len(known) == len(costs) else None
