"""What the calls of one client cost: by the caller's prices, or else by the provider's table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, cast

from rerankkit._checks import shown
from rerankkit._planning import plan
from rerankkit._tokens import Tokenizer, likely_tokens
from rerankkit.errors import InvalidRequestError
from rerankkit.money import UNITS, Estimate, cost_of, sum_of_costs
from rerankkit.provider import Price, Provider
from rerankkit.types import D, RerankRequest, Usage

Prices: TypeAlias = Mapping[str, Price]
"""By the model's name."""


@dataclass(frozen=True, slots=True)
class Pricing:
    """A provider and what it costs.

    Attributes:
        own: The caller's prices, which go before the table's.
        count: How many tokens a text has.
    """

    provider: Provider
    own: Prices = field(default_factory=dict[str, Price])
    count: Tokenizer = likely_tokens

    def price(self, served: str | None = None) -> Price | None:
        """What the model costs that served, or that is asked for; None: it is not known."""
        name = self.provider.billed_as(served)
        return self.own.get(name) or self.provider.price_of(name)

    def estimate(self, request: RerankRequest[D]) -> Estimate:
        """What a call is likely to consume and cost: each of its requests once."""
        self.provider.check_query(request.query)
        price = self.price()
        batches = plan(self.provider, request, self.provider.prepare(request.items))
        unit = price.unit if price else None
        usages = [self.provider.estimate_usage(batch, self._tokens, unit) for batch in batches]
        cost = sum_of_costs(*(cost_of(usage, price) for usage in usages))
        return Estimate(sum(usages, Usage()), cost, _why_unknown(price) if cost is None else None)

    def _tokens(self, text: str) -> int:
        found: object = self.count(text)
        if isinstance(found, int) and found >= 0:
            return found
        raise InvalidRequestError(f"tokenizer must answer with the number of a text's tokens, got {shown(found)[:100]}")


def _why_unknown(price: Price | None) -> str:
    if price is None:
        return "the price is not known"
    if price.unit in UNITS:
        return f"the price is per {price.unit}, and how many a call takes is not estimated"
    return f"the price is ${price.dollars:g} per {price.unit}, used or not"


def check_prices(prices: object, provider: Provider) -> Prices:
    """*prices*, if they are those of models, for what the service counts."""
    if prices is None:
        return {}
    if not isinstance(prices, Mapping):
        raise InvalidRequestError(f"prices must be a mapping such as {{'rerank-v3.5': Price(...)}}, got {shown(prices)}")
    found = cast("Mapping[object, object]", prices)
    return {_check_name(name): _check_price(name, price, provider) for name, price in found.items()}


def _check_name(name: object) -> str:
    if not isinstance(name, str):
        raise InvalidRequestError(f"prices must have models' names as keys, got {shown(name)}")
    return name


def _check_price(name: object, price: object, provider: Provider) -> Price:
    if not isinstance(price, Price):
        raise InvalidRequestError(
            f"prices[{name!r}] must be a Price such as Price(2.00, 1_000, 'search unit'), got {shown(price)}"
        )
    units = (*provider.units, "request")
    if price.unit not in units:
        raise InvalidRequestError(f"prices[{name!r}] is for a {price.unit!r}, {provider.name} counts {', '.join(units)}")
    return price


def check_tokenizer(tokenizer: object) -> Tokenizer:
    """*tokenizer*, or the likely count in the place of None."""
    if tokenizer is None:
        return likely_tokens
    if not callable(tokenizer):
        raise InvalidRequestError(f"tokenizer must be a function from a text to its number of tokens, got {shown(tokenizer)}")
    return cast("Tokenizer", tokenizer)
