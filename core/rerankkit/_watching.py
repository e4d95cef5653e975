"""The one way into every reranker: whoever watches is told of each call, and each of a caller's own is a line in the log.

Nothing here knows how calls are shown: `rerankkit.observability` sets `WATCH.begin`.  While nobody watches, a call costs
a look at that and at the logger's level.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from rerankkit.errors import RerankError
from rerankkit.service import tidy

if TYPE_CHECKING:
    from rerankkit._io import IO
    from rerankkit.reranker import BaseReranker
    from rerankkit.types import D, RerankRequest, RerankResponse

logger = logging.getLogger("rerankkit")


class Watched(Protocol):
    """A call under way."""

    def answered(self, response: RerankResponse[Any]) -> None:
        """It has an answer; without one it failed, with the error that leaves the context."""
        ...


Begin: TypeAlias = "Callable[[BaseReranker, RerankRequest[Any], bool], AbstractContextManager[Watched]]"
"""What is told of a reranker's call before it, and whether it is the caller's own, not one that a wrapper makes."""


class Watch:
    """Who watches.

    Attributes:
        begin: None: nobody does.
    """

    begin: Begin | None = None


WATCH = Watch()
"""Of the whole process."""


async def watched(reranker: BaseReranker, io: IO, request: RerankRequest[D], *, is_own: bool) -> RerankResponse[D]:
    """What *reranker* answers; *is_own* says that the caller asked it, not a wrapper."""
    begin = WATCH.begin
    if begin is None:
        return await _logged(reranker, io, request, is_own=is_own)
    with begin(reranker, request, is_own) as call:
        response = await _logged(reranker, io, request, is_own=is_own)
        call.answered(response)
        return response


async def _logged(reranker: BaseReranker, io: IO, request: RerankRequest[D], *, is_own: bool) -> RerankResponse[D]:
    if not is_own or not logger.isEnabledFor(logging.INFO):
        return await reranker._rerank(io, request)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] -- the way in
    with _line(reranker, request) as facts:
        response = await reranker._rerank(io, request)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] -- as above
        facts.update(_answer(response))
        return response


@contextmanager
def _line(reranker: BaseReranker, request: RerankRequest[D]) -> Generator[dict[str, object]]:
    """Write one line when the call is over: as text, and as the record's `rerank`.  No texts, no keys, no error texts."""
    service, _, model = reranker.label.partition(":")
    facts: dict[str, object] = {"service": service, "model": model or None, "status": "failed"}
    facts |= {"documents": len(request.items), "top_n": request.top_n, "seconds": 0.0}
    started = time.monotonic()
    try:
        yield facts
    except BaseException as error:
        facts.update(_failure(error))
        raise
    finally:
        facts["seconds"] = round(time.monotonic() - started, 4)
        known = {name: value for name, value in facts.items() if value is not None and value != ""}
        logger.info("rerank %s", " ".join(f"{name}={_shown(value)}" for name, value in known.items()), extra={"rerank": known})


def _answer(response: RerankResponse[D]) -> Mapping[str, object]:
    usage, cache = response.usage, response.cache
    return {
        "service": response.provider,
        "model": response.model,
        "status": response.status,
        "requests": usage.requests,
        "search_units": usage.search_units,
        "total_tokens": usage.total_tokens,
        "rerank_units": usage.rerank_units,
        "cost": response.cost,
        "request_id": response.request_id,
        "attempts": len(response.attempts) or None,
        "cache_hits": None if cache is None else cache.hits,
    }


def _failure(error: BaseException) -> Mapping[str, object]:
    if was_cancelled(error):
        return {"status": "cancelled"}
    told = {
        "service": getattr(error, "provider", None),
        "model": getattr(error, "model", None),
        "status_code": getattr(error, "status_code", None),
        "request_id": getattr(error, "request_id", None),
        "requests": getattr(error, "attempts", None),
        "attempts": len(error.history) or None if isinstance(error, RerankError) else None,
    }
    return {"error": type(error).__name__, **{name: value for name, value in told.items() if value}}


def was_cancelled(error: BaseException) -> bool:
    """Whether nobody waited for the answer any more, so that the reranker has not failed."""
    return isinstance(error, CancelledError) or not isinstance(error, Exception)


def _shown(value: object) -> str:
    """*value* as one word: services choose some of these texts."""
    text = f"{value:.6g}" if isinstance(value, float) else tidy(str(value))
    return repr(text) if not text or any(char in text for char in " =\"'") else text
