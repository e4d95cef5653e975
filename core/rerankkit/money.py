"""What calls consume and what that costs.  What is not known is None, and never zero."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rerankkit.types import Usage

if TYPE_CHECKING:
    from rerankkit.provider import Price

UNITS: Mapping[str, str] = {
    "request": "requests",
    "search unit": "search_units",
    "token": "total_tokens",
    "rerank unit": "rerank_units",
}
"""What of a call a price may be for, and where `Usage` counts it.  An hour of a plan is in no call's usage."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a call is likely to consume.

    Attributes:
        usage: In the service's own units, requests without retries; None where the service counts no such unit.
        cost: In dollars (USD); None: unknown, because the price or the usage is.
        unknown: Why the cost is unknown, in words; None if it is known, or nobody can say.
    """

    usage: Usage = field(default_factory=Usage)
    cost: float | None = None
    unknown: str | None = None

    def __add__(self, other: Estimate) -> Estimate:
        return Estimate(self.usage + other.usage, sum_of_costs(self.cost, other.cost), self.unknown or other.unknown)


FREE = Estimate(cost=0.0)
"""Of what sends no request."""


_NOTHING = Usage()


def cost_of(usage: Usage, price: Price | None) -> float | None:
    """What *usage* costs in dollars (USD): its units times the price of one; 0.0 for nothing at all.

    None: there is no price, it is for something that no call consumes, or nobody told how much of it was consumed.
    """
    if usage == _NOTHING:
        return 0.0
    units = None if price is None else counted(usage, price.unit)
    return None if price is None or units is None else units * price.dollars / price.per


def counted(usage: Usage, unit: str) -> float | None:
    """How many of *unit* there are in *usage*; None: nobody told, or it is no unit of a call's."""
    name = UNITS.get(unit)
    found: float | None = None if name is None else getattr(usage, name)
    return found


def sum_of_costs(*costs: float | None) -> float | None:
    """Their sum; None if one of them is unknown."""
    known = [cost for cost in costs if cost is not None]
    return math.fsum(known) if len(known) == len(costs) else None
