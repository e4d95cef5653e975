"""How wrappers ask the rerankers they hold: within their time, with an account of who was asked and what came of it."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from dataclasses import replace
from itertools import count
from typing import NamedTuple, TypeVar

from rerankkit._io import IO
from rerankkit._watching import watched
from rerankkit.errors import (
    APIConnectionError,
    BudgetExceededError,
    CircuitOpenError,
    DeadlineExceededError,
    InvalidRequestError,
    InvalidResponseError,
    ProviderError,
    RerankError,
)
from rerankkit.money import Estimate
from rerankkit.reranker import BaseReranker, Reranker
from rerankkit.service import tidy
from rerankkit.types import Attempt, D, RerankRequest, RerankResponse, Usage

UNSENT = (BudgetExceededError, CircuitOpenError, InvalidRequestError)
"""What is raised before anything is sent."""

E = TypeVar("E", bound=Exception)

RACE: ContextVar[object] = ContextVar("rerankkit_race", default=None)
"""What the turns have in common that race for one answer; None outside of races."""

_ORDER = count(1)  # what begins and what is told, one after the other; clocks may stand still in between


async def call(io: IO, reranker: Reranker, request: RerankRequest[D]) -> RerankResponse[D]:
    """What *reranker* answers, which says in `attempts` whose turns it took; an error says so in its `history`.

    It has until the request's deadline, or for the `timeout` it was made with if that ends sooner.
    """
    began, started = next(_ORDER), time.monotonic()
    try:
        response = await _answer(io, reranker, request)
    except RerankError as error:
        if not _is_told(error, began):
            _forget(error)
            tell(error, [failed(label_of(reranker), time.monotonic() - started, error)])
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


def failed(who: str, seconds: float, error: RerankError) -> Attempt:
    """The turn of one who raised *error*."""
    requests = error.attempts if isinstance(error, ProviderError | DeadlineExceededError) else 0
    return Attempt(who, "failed", seconds, told(error), Usage(requests), None if _may_be_billed(error) else 0.0)


def is_sent(turn: Attempt) -> bool:
    """Whether anything may have been sent for it: refusals of this package's own come before."""
    return turn.usage.requests > 0 or turn.cost is None


def _was_sent(error: RerankError) -> bool:
    if isinstance(error, ProviderError):
        return error.attempts > 0
    if isinstance(error, DeadlineExceededError):
        return error.sent
    return not isinstance(error, UNSENT)


def _may_be_billed(error: RerankError) -> bool:
    """Whether a service may have ranked for a call that ended with *error*, and bill it, in whole or in part."""
    if not isinstance(error, ProviderError) or isinstance(error, InvalidResponseError) or not _was_sent(error):
        return _was_sent(error)
    return error.partial or (error.sent if isinstance(error, APIConnectionError) else error.status_code is None)


def told(error: BaseException) -> str:
    """*error* in one line."""
    return tidy(f"{type(error).__name__}: {error}")


class _Mark(NamedTuple):
    """When an error was told what to say, and what of that stands in its notes."""

    when: int = 0
    notes: tuple[str, ...] = ()


def tell(error: RerankError, history: Iterable[Attempt], notes: Sequence[str] = ()) -> None:
    """Let *error* say what came of all turns."""
    if notes:
        error.__notes__ = [*_notes_of(error), *notes]  # another list: copies share the one there was
    vars(error)["_mark"] = _Mark(next(_ORDER), (*_mark_of(error).notes, *notes))
    error.history = tuple(history)


def copied(error: E) -> E | None:
    """*error* for another call, without its traceback; None if its class does not let itself be copied."""
    try:
        found = copy.copy(error)
    except Exception:  # noqa: BLE001 -- anybody's class
        return None
    if _notes_of(found):
        found.__notes__ = [*_notes_of(found)]
    return found


def _mark_of(error: RerankError) -> _Mark:
    found: _Mark = vars(error).get("_mark", _Mark())
    return found


def _notes_of(error: BaseException) -> Sequence[str]:
    return getattr(error, "__notes__", ())


def _is_told(error: RerankError, began: int) -> bool:
    """Whether *error* says already what came of the call that *began* then: by wrappers within it, or by its maker."""
    when = _mark_of(error).when
    return when > began or (not when and bool(error.history))


def _forget(error: RerankError) -> None:
    """Whoever raises one object twice does not mean the first call's turns."""
    mark = _mark_of(error)
    if mark.notes:
        error.__notes__ = [note for note in _notes_of(error) if note not in mark.notes]
    vars(error)["_mark"] = _Mark()


def history_of(errors: Iterable[RerankError]) -> tuple[Attempt, ...]:
    """All turns that led to *errors*, in order."""
    return tuple(turn for error in errors for turn in error.history)
