"""A rerank as a run of LangChain's: seen by callbacks, `astream_events` and tracers such as LangSmith's.

It is a retriever's run, because its inputs and outputs are one's: tracers show the query and the documents found, as far
as the user's own settings (``LANGSMITH_HIDE_INPUTS``, ``LANGSMITH_HIDE_OUTPUTS``) let them.  No metadata here holds texts.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun, Callbacks
from langchain_core.documents import Document
from langchain_core.runnables import RunnableConfig, ensure_config
from langchain_core.runnables.config import get_async_callback_manager_for_config, get_callback_manager_for_config
from langchain_core.tracers.base import AsyncBaseTracer, BaseTracer

import rerankkit
from rerankkit._turns import label_of
from rerankkit.types import Attempt

_OF_FIRST_RUN = ("context", "langchain", "run_collector", "stdout")


def import_tracers() -> None:
    """Import what LangChain leaves to the first run, 40 ms for which that would hold up its event loop."""
    for name in _OF_FIRST_RUN:
        with suppress(ImportError):
            importlib.import_module(f"langchain_core.tracers.{name}")


def config_for(callbacks: Callbacks | None) -> RunnableConfig:
    """The configuration of a call that was handed *callbacks*; what is ambient holds where they say nothing."""
    return ensure_config() if callbacks is None else ensure_config(RunnableConfig(callbacks=callbacks))


def start(
    name: Callable[[], str], query: str, config: RunnableConfig, facts: Callable[[], Mapping[str, Any]]
) -> CallbackManagerForRetrieverRun | None:
    """A run below that of *config*; None if LangChain, once it has looked for handlers everywhere, knows of none."""
    manager = get_callback_manager_for_config(config)
    if not manager.handlers:
        return None
    manager.metadata = {**manager.metadata, **facts()}
    return manager.on_retriever_start(None, query, run_id=config.get("run_id"), name=config.get("run_name") or name())


async def astart(
    name: Callable[[], str], query: str, config: RunnableConfig, facts: Callable[[], Mapping[str, Any]]
) -> AsyncCallbackManagerForRetrieverRun | None:
    """The same in the running event loop."""
    manager = get_async_callback_manager_for_config(config)
    if not manager.handlers:
        return None
    manager.metadata = {**manager.metadata, **facts()}
    return await manager.on_retriever_start(None, query, run_id=config.get("run_id"), name=config.get("run_name") or name())


def end(run: CallbackManagerForRetrieverRun, found: Sequence[Document], facts: Mapping[str, Any]) -> None:
    """It answered."""
    run.on_retriever_end(found, metadata=_told(run, facts))


async def aend(run: AsyncCallbackManagerForRetrieverRun, found: Sequence[Document], facts: Mapping[str, Any]) -> None:
    """It answered."""
    await run.on_retriever_end(found, metadata=_told(run, facts))


def fail(run: CallbackManagerForRetrieverRun, error: BaseException) -> None:
    """It did not answer."""
    run.on_retriever_error(error, metadata=_told(run, error_facts(error)))


async def afail(run: AsyncCallbackManagerForRetrieverRun, error: BaseException) -> None:
    """It did not answer."""
    await run.on_retriever_error(error, metadata=_told(run, error_facts(error)))


def _told(
    run: CallbackManagerForRetrieverRun | AsyncCallbackManagerForRetrieverRun, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """All metadata of *run* with what became of it, which handlers that kept the metadata have now as well."""
    run.metadata.update(facts)
    for handler in run.handlers:
        if isinstance(handler, BaseTracer | AsyncBaseTracer) and (traced := handler.run_map.get(str(run.run_id))):
            traced.add_metadata(dict(facts))  # some tracers keep a copy
    return run.metadata


def request_facts(reranker: rerankkit.Reranker, documents: Sequence[Document], top_n: int | None) -> dict[str, Any]:
    """What is known of a call before it."""
    provider, _, model = label_of(reranker).partition(":")
    return _known(ls_provider=provider, ls_model_name=model, rerank_documents=len(documents), rerank_top_n=top_n)


def response_facts(response: rerankkit.RerankResponse[Any], returned: int) -> dict[str, Any]:
    """What is known of a call after it."""
    cache = response.cache
    return _known(
        rerank_returned=returned,
        rerank_status=response.status,
        rerank_served_by=response.served_by,
        rerank_request_ids=list(response.request_ids) or None,
        rerank_warnings=list(response.warnings) or None,
        rerank_attempts=_turns(response.attempts),
        rerank_cost=response.cost,
        rerank_cache=None if cache is None else asdict(cache),
        rerank_requests=response.usage.requests,
        rerank_search_units=response.usage.search_units,
        rerank_total_tokens=response.usage.total_tokens,
        rerank_units=response.usage.rerank_units,
    )


ERROR_FACTS = ("provider", "model", "status_code", "request_id", "retry_after", "retryable")


def error_facts(error: BaseException) -> dict[str, Any]:
    """What is known of a call that failed."""
    known = {f"rerank_{name}": getattr(error, name, None) for name in ERROR_FACTS}
    return _known(
        rerank_status="error",
        rerank_error=type(error).__name__,
        rerank_requests=getattr(error, "attempts", None),
        rerank_attempts=_turns(error.history) if isinstance(error, rerankkit.RerankError) else None,
        **known,
    )


def _turns(turns: Sequence[Attempt]) -> list[dict[str, Any]] | None:
    return [_known(**{**asdict(turn), "usage": _known(**asdict(turn.usage))}) for turn in turns] or None


def _known(**facts: Any) -> dict[str, Any]:  # noqa: ANN401 -- metadata is of any kind
    return {name: value for name, value in facts.items() if value is not None and value != ""}
