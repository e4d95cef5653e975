"""What LlamaIndex's two systems of events are told of a call: each start has its end, whatever happens between.

With events go texts and nodes, as with those of LlamaIndex itself: what is kept of them is the handlers' business.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any

from llama_index.core.callbacks import CallbackManager, CBEventType, EventPayload
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.dispatcher import Dispatcher
from llama_index_instrumentation.event_handlers import NullEventHandler

from rerankkit import Document, RerankError, RerankResponse

dispatcher = get_dispatcher(__name__)


@dataclass(frozen=True)
class Call:
    """One call, as events describe it.

    Attributes:
        top_n: How many nodes are wanted; events know no None.
        model_name: The model asked for, or who else ranks.
    """

    query: QueryBundle
    nodes: list[NodeWithScore]
    top_n: int
    model_name: str


@dataclass
class Report:
    """What came of a call: filled in while it goes on.

    Attributes:
        tags: Makes what is said beside the nodes, if anybody is there to hear it.
    """

    nodes: list[NodeWithScore] = field(default_factory=list[NodeWithScore])
    tags: Callable[[], dict[str, Any]] = dict[str, Any]


@contextmanager
def reported(call: Callable[[], Call], callback_manager: CallbackManager) -> Generator[Report, None, None]:
    """Tell of *call* when it begins, and of the report when it ends; of a failed call that it failed, and how."""
    report = Report()
    if is_heard():
        told = call()
        dispatcher.event(ReRankStartEvent(query=told.query, nodes=told.nodes, top_n=told.top_n, model_name=told.model_name))
    try:
        with _told_to_callbacks(call, report, callback_manager) if callback_manager.handlers else nullcontext():
            yield report
    except BaseException as error:
        tags = failure(error)
        report.tags = lambda: tags
        raise
    finally:
        if is_heard():
            dispatcher.event(ReRankEndEvent(nodes=report.nodes, tags=report.tags()))


def is_heard() -> bool:
    """Whether LlamaIndex's dispatchers hand events of this module to anybody but the placeholder they begin with."""
    asked: Dispatcher | None = dispatcher
    while asked is not None:
        if any(type(handler) is not NullEventHandler for handler in asked.event_handlers):
            return True
        asked = asked.parent if asked.propagate else None
    return False


@contextmanager
def _told_to_callbacks(
    call: Callable[[], Call], report: Report, callback_manager: CallbackManager
) -> Generator[None, None, None]:
    """For a manager with handlers: without a trace around it, one remembers each event for ever."""
    told = call()
    payload: dict[str, Any] = {
        EventPayload.NODES: told.nodes,
        EventPayload.MODEL_NAME: told.model_name,
        EventPayload.QUERY_STR: told.query.query_str,
        EventPayload.TOP_K: told.top_n,
    }
    with callback_manager.event(CBEventType.RERANKING, payload=payload) as event:
        yield
        event.on_end(payload={EventPayload.NODES: report.nodes, EventPayload.ADDITIONAL_KWARGS: report.tags()})


def answer(response: RerankResponse[str | Document]) -> dict[str, Any]:
    """What the tags say of an answer: plain values, no texts."""
    return {
        "served_by": response.served_by,
        "status": response.status,
        "usage": asdict(response.usage),
        "cost": response.cost,
        "attempts": [asdict(attempt) for attempt in response.attempts],
        "request_ids": list(response.request_ids),
        "warnings": list(response.warnings),
    }


def failure(error: BaseException) -> dict[str, Any]:
    """What the tags say of a call without an answer."""
    turns: Sequence[Any] = error.history if isinstance(error, RerankError) else ()
    return {"error_type": type(error).__name__, "error": str(error), "attempts": [asdict(turn) for turn in turns]}
