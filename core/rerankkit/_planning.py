"""Which requests a call needs: as few as the service's limits allow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rerankkit._tokens import most_tokens
from rerankkit.provider import Batch, Content, Limits, Prepared, Provider
from rerankkit.types import D, RerankRequest


def plan(provider: Provider, request: RerankRequest[D], prepared: Prepared) -> list[Batch]:
    """The requests to make, as few as the service's limits allow.

    Only a single request is told `top_n`: of several, each answers in full and the cut follows the merge.
    """
    chunks = list(_chunks(provider, request.query, prepared.contents))
    cuts = provider.takes_top_n and request.top_n is not None and len(chunks) == 1 and request.top_n < len(chunks[0])
    return [
        Batch(request.query, [prepared.contents[index] for index in chunk], chunk, request.top_n if cuts else None)
        for chunk in chunks
    ]


def _chunks(provider: Provider, query: str, contents: Mapping[int, Content]) -> Iterator[Sequence[int]]:
    """Positions that go out together.  A listwise service's scores hold within one request only: it is not cut."""
    indices = list(contents)
    limits = provider.limits
    if not provider.pointwise or not indices:
        return iter([indices] if indices else [])
    if limits.request_tokens is None:
        return (indices[start : start + limits.documents] for start in range(0, len(indices), limits.documents))
    return _chunks_by_tokens(provider.full_query(query), contents, limits, limits.request_tokens)


def _chunks_by_tokens(query: str, contents: Mapping[int, Content], limits: Limits, most: int) -> Iterator[Sequence[int]]:
    of_query = most_tokens(query)
    chunk: list[int] = []
    total = 0
    for index, content in contents.items():
        tokens = of_query + most_tokens(str(content))
        tokens = min(tokens, limits.pair_tokens or tokens)  # the service cuts longer pairs, or refuses them singly
        if chunk and (len(chunk) == limits.documents or total + tokens > most):
            yield chunk
            chunk, total = [], 0
        chunk.append(index)
        total += tokens
    yield chunk
