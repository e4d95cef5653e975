"""A LangChain retriever that reranks what another one finds, on langchain-core alone."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableConfig, RunnableSerializable
from langchain_core.runnables.base import RunnableBindingBase
from pydantic import ConfigDict, Field
from typing_extensions import override

from langchain_rerankkit._compressing import Compressing
from langchain_rerankkit._input import RerankInput
from langchain_rerankkit._names import Names
from langchain_rerankkit.compressor import BaseRerankCompressor
from rerankkit._checks import check_integer
from rerankkit.errors import InvalidRequestError
from rerankkit.settings.mistakes import near_miss

if TYPE_CHECKING:
    from langchain_rerankkit._configurable import AnyConfigurableField


class RerankRetriever(Names, Compressing, BaseRetriever):
    """Fetches candidates, and returns the best: ``RerankRetriever(base_retriever=store.as_retriever(), reranker="cohere")``.

    The base retriever is told how many to fetch, where it can be: by ``k=`` of its call, or by its field ``k``. One that
    can not be told fetches what it fetches.

    Closing it closes the reranker, and leaves the base retriever to its owner.

    Attributes:
        base_retriever: Who finds candidates.
        k: How many documents to return; None: as many as the compressor does. Called ``top_n`` as well, here and in a call.
        candidates: How many to fetch, and to rerank at most; None: `multiplier` times as many as are returned, or what the
            base retriever fetches by itself where all are returned.
        multiplier: See `candidates`.
        max_candidates: What `multiplier` does not go beyond, as each candidate is paid for.
    """

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, arbitrary_types_allowed=True, validate_assignment=True)

    further_names: ClassVar[Mapping[str, str]] = {"top_n": "k"}

    base_retriever: Runnable[str, list[Document]]
    k: int | None = Field(default=None, ge=1, strict=True)
    candidates: int | None = Field(default=None, ge=1, strict=True)
    multiplier: int = Field(default=4, ge=1, strict=True)
    max_candidates: int = Field(default=100, ge=1, strict=True)

    if TYPE_CHECKING:
        top_n: int | None = None

    @override
    def configurable_fields(self, **kwargs: AnyConfigurableField) -> RunnableSerializable[str, list[Document]]:
        """The same with fields that a call's configuration may set; connections are shared."""
        from langchain_rerankkit._configurable import Configurable  # noqa: PLC0415 -- LangChain imports its own so late, too

        super().configurable_fields(**kwargs)  # which knows what may be configured
        return Configurable(default=self, fields=kwargs)

    @override
    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        top_n, options = self._limit(kwargs)
        wanted = self._wanted(top_n)
        below = run_manager.get_child()
        retriever, how_many = told(self.base_retriever, wanted, "_get_relevant_documents")
        found = retriever.invoke(query, RunnableConfig(callbacks=below), **how_many, **options)[:wanted]
        if not found:
            return []
        compressor = self.compressor()
        if not isinstance(compressor, BaseRerankCompressor):
            return [*compressor.compress_documents(found, query, below)][:top_n]
        given = RerankInput(query=query, documents=found)
        return compressor.invoke(given, RunnableConfig(callbacks=below), top_n=self._returned(top_n))

    @override
    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        top_n, options = self._limit(kwargs)
        wanted = self._wanted(top_n)
        below = run_manager.get_child()
        retriever, how_many = told(self.base_retriever, wanted, "_aget_relevant_documents")
        found = (await retriever.ainvoke(query, RunnableConfig(callbacks=below), **how_many, **options))[:wanted]
        if not found:
            return []
        compressor = self.compressor()
        if not isinstance(compressor, BaseRerankCompressor):
            return [*await compressor.acompress_documents(found, query, below)][:top_n]
        given = RerankInput(query=query, documents=found)
        return await compressor.ainvoke(given, RunnableConfig(callbacks=below), top_n=self._returned(top_n))

    def _limit(self, options: Mapping[str, Any]) -> tuple[int | None, dict[str, Any]]:
        """How many a call returns, if it or `k` says so, and its options for the base retriever."""
        given = [check_integer(name, options[name], 1, None) for name in ("k", "top_n") if options.get(name) is not None]
        if len(set(given)) > 1:
            raise InvalidRequestError(f"k and top_n are the same here, got k={given[0]} and top_n={given[1]}: pass one of them")
        others = {name: value for name, value in options.items() if name not in {"k", "top_n"}}
        _know_no_slips(others)
        return given[0] if given else self.k, others

    def _returned(self, top_n: int | None) -> int | None:
        """How many are returned, if anybody says so."""
        return getattr(self.compressor(), "top_n", None) if top_n is None else top_n

    def _wanted(self, top_n: int | None) -> int | None:
        """How many are fetched; None: what the base retriever fetches by itself."""
        returned = self._returned(top_n)
        if returned is None:
            return self.candidates
        return max(returned, self.candidates or min(returned * self.multiplier, self.max_candidates))


def _know_no_slips(options: Iterable[str]) -> None:
    """Refuse what is meant for this retriever, and would go to the base retriever, which may take anything."""
    for name in options:
        meant = near_miss(name, ("k", "top_n", "candidates"))
        if meant:
            way_out = "set candidates on the RerankRetriever" if meant == "candidates" else f"did you mean {meant}?"
            raise InvalidRequestError(
                f"invoke() has no option {name}: {way_out} (to give {name} to the base retriever: "
                f"base_retriever.bind({name}=...))"
            )


def told(
    retriever: Runnable[str, list[Document]], count: int | None, method: str
) -> tuple[Runnable[str, list[Document]], dict[str, int]]:
    """The retriever, and the options of its call, that fetch *count* documents by *method*, where it can be told."""
    if count is None:
        return retriever, {}
    if _takes_k(retriever, method):
        return retriever, {"k": count}
    if isinstance(retriever, RunnableSerializable) and "k" in type(retriever).model_fields:
        return retriever.model_copy(update={"k": count}), {}
    return retriever, {}


def _takes_k(retriever: object, method: str) -> bool:
    """Whether what its calls are given beside the query reaches *method*, as LangChain has it."""
    while isinstance(retriever, RunnableBindingBase):
        retriever = retriever.bound  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] -- of whatever types
    if not isinstance(retriever, BaseRetriever):
        return False
    # the twin for event loops may take less than the blocking method, by which LangChain decides what it hands on
    signatures = [inspect.signature(getattr(retriever, name)) for name in {"_get_relevant_documents", method}]
    return all(_has_k(signature.parameters.values()) for signature in signatures)


def _has_k(parameters: Iterable[inspect.Parameter]) -> bool:
    return any(parameter.name == "k" or parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
