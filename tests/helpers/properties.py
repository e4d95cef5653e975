"""What the property tests share: how often they try, and the texts and documents they try with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from rerankkit import RerankRequest
from rerankkit._checks import as_items
from rerankkit._planning import plan
from rerankkit.deadline import Deadline
from rerankkit.provider import Batch, Prepared, Provider


def tries(count: int) -> settings:
    """So many examples; no time limit for one, nothing kept on disk, and a failure prints how to repeat it."""
    return settings(max_examples=count, deadline=None, database=None, print_blob=True)


any_text = st.text(st.characters(exclude_categories=()), max_size=40)
"""Of all code points: lone surrogates, control characters, and what Unicode has not assigned."""

header_text = st.text(st.characters(max_codepoint=0xFF), max_size=60)

document = st.one_of(
    st.sampled_from(["", " ", "\n\t", "\u2003", "same", "same ", "ferry", "\ud800", "a\udfffb", "\N{GRINNING FACE}"]),
    any_text,
)
documents = st.lists(document, max_size=12)
"""With blank ones, equal ones, and ones that have no UTF-8 form."""


def request_for(texts: Sequence[Any], top_n: int | None = None) -> RerankRequest[Any]:
    return RerankRequest("query", tuple(texts), as_items(texts), top_n, Deadline(1e6))


def planned(provider: Provider, texts: Sequence[Any], top_n: int | None = None) -> tuple[Prepared, list[Batch]]:
    request = request_for(texts, top_n)
    prepared = provider.prepare(request.items)
    return prepared, plan(provider, request, prepared)
