"""Which requests a call needs: as few as the service's limits allow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rerankkit._checks import are_texts
from rerankkit._tokens import FEWEST_BYTES_PER_TOKEN, most_tokens, utf8_length_of
from rerankkit.provider import Batch, Content, Limits, Prepared, Provider
from rerankkit.types import D, RerankRequest


def plan(provider: Provider, request: RerankRequest[D], prepared: Prepared) -> list[Batch]:
    """The requests to make, as few as the service's limits allow.

    Only a single request is told `top_n`: of several, each answers in full and the cut follows the merge.
    """
    contents, indices = prepared.in_order()
    chunks = list(_chunks(provider, request.query, contents))
    if len(chunks) == 1:
        cuts = provider.takes_top_n and request.top_n is not None and request.top_n < len(contents)
        return [Batch(request.query, contents, indices, request.top_n if cuts else None)]
    return [Batch(request.query, contents[chunk], indices[chunk]) for chunk in chunks]


def _chunks(provider: Provider, query: str, contents: Sequence[Content]) -> Iterable[slice]:
    """Parts that go out together.  A listwise service's scores hold within one request only: it is not cut."""
    limits = provider.limits
    if not provider.pointwise or not contents:
        return [slice(None)] if contents else []
    if limits.request_tokens is not None:
        of_query = most_tokens(provider.full_query(query))
        if not _is_surely_less(of_query, contents, limits.request_tokens):
            return _chunks_by_tokens(of_query, contents, limits, limits.request_tokens)
    return (slice(start, start + limits.documents) for start in range(0, len(contents), limits.documents))


def _is_surely_less(of_query: int, contents: Sequence[Content], most: int) -> bool:
    """Whether all *contents* together stay within *most* tokens by a count that takes 30 us for 1,000, and not 400."""
    return are_texts(contents) and len(contents) * (of_query + 1) + utf8_length_of(contents) // FEWEST_BYTES_PER_TOKEN <= most


def _chunks_by_tokens(of_query: int, contents: Sequence[Content], limits: Limits, most: int) -> Iterator[slice]:
    start, total = 0, 0
    for position, content in enumerate(contents):
        tokens = of_query + most_tokens(str(content))
        tokens = min(tokens, limits.pair_tokens or tokens)  # the service cuts longer pairs, or refuses them singly
        if position > start and (position - start == limits.documents or total + tokens > most):
            yield slice(start, position)
            start, total = position, 0
        total += tokens
    yield slice(start, len(contents))
