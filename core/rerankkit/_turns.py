"""How wrappers ask the rerankers they hold: within their time, with an account of who was asked and what came of it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace

from rerankkit._io import IO
from rerankkit._watching import watched
from rerankkit.errors import RerankError
from rerankkit.money import Estimate
from rerankkit.reranker import BaseReranker, Reranker
from rerankkit.service import tidy
from rerankkit.types import Attempt, D, RerankRequest, RerankResponse


async def call(io: IO, reranker: Reranker, request: RerankRequest[D]) -> RerankResponse[D]:
    """What *reranker* answers, which says in `attempts` whose turns it took; an error says so in its `history`.

    It has until the request's deadline, or for the `timeout` it was made with if that ends sooner.
    """
    started = time.monotonic()
    try:
        response = await _answer(io, reranker, request)
    except RerankError as error:
        seconds = time.monotonic() - started
        error.history = error.history or (Attempt(label_of(reranker), "failed", seconds, told(error)),)
        raise
    seconds = time.monotonic() - started
    turn = Attempt(response.served_by, "served", seconds, usage=response.usage, cost=response.cost)
    return response if response.attempts else replace(response, attempts=(turn,))


async def _answer(io: IO, reranker: Reranker, request: RerankRequest[D]) -> RerankResponse[D]:
    if not isinstance(reranker, BaseReranker):
        return await io.call(reranker, request)
    has_own_time = reranker.arguments().get("timeout") is not None
    own = replace(request, deadline=request.deadline.sooner(reranker.timeout)) if has_own_time else request
    return await watched(reranker, io, own, is_own=False)


def label_of(reranker: Reranker) -> str:
    """How *reranker* is called in reports."""
    return reranker.label if isinstance(reranker, BaseReranker) else type(reranker).__name__


def share_of(reranker: Reranker) -> float:
    """How much of a common deadline it needs beside the 1.0 of a service."""
    return reranker.share if isinstance(reranker, BaseReranker) else 1.0


def estimate_of(reranker: Reranker, request: RerankRequest[D]) -> Estimate:
    """What it is likely to consume."""
    if not isinstance(reranker, BaseReranker):
        return Estimate()
    return reranker._estimate(request)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] -- the wrappers' way in


def told(error: BaseException) -> str:
    """*error* in one line."""
    return tidy(f"{type(error).__name__}: {error}")


def history_of(errors: Iterable[RerankError]) -> tuple[Attempt, ...]:
    """All turns that led to *errors*, in order."""
    return tuple(turn for error in errors for turn in error.history)
