"""A LangChain document compressor over any reranker.

Documents keep their class, id and metadata; copies carry the score, and the caller's are not touched.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from itertools import repeat
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, Self

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.load.serializable import SerializedConstructor, SerializedNotImplemented
from langchain_core.runnables import RunnableConfig, RunnableSerializable, ensure_config
from pydantic import BaseModel, ConfigDict, model_validator
from typing_extensions import override

import rerankkit
from langchain_rerankkit import _runs, _spans
from langchain_rerankkit._input import RerankInput, check_documents, listed, parts
from rerankkit._checks import are_all, check_top_n
from rerankkit._io import check_loop
from rerankkit.retry import Retry
from rerankkit.settings.adapters import AdapterSettings
from rerankkit.settings.rerankers import RerankerSettings

if TYPE_CHECKING:
    from langchain_rerankkit._configurable import AnyConfigurableField


class BaseRerankCompressor(AdapterSettings, BaseDocumentCompressor, RunnableSerializable[RerankInput, list[Document]]):
    """What all compressors here do.

    They are Runnables, too: ``{"query": ..., "documents": ...}`` in, documents out, with ``top_n=`` as an option of a call.
    Each call is one run, below that of its caller.

    Attributes:
        score_key: The metadata key of the score; None there means that the document was not scored.
        status_key: The metadata key of the answer's status, such as ``"degraded"``, which is there only if the first choice
            did not rank; None: it is told nowhere.
        first_stage_score_key: The metadata key of the first-stage score, which Kendra takes into account.
        spans_key: The metadata key of the relevant spans, where the service reports them: ``start`` and ``end`` in code
            points of the text as it was, and ``score``; best first.
        cut_to_spans: Whether the copies hold the relevant spans alone; a document without any keeps its text.
    """

    model_config = ConfigDict(
        extra="forbid", hide_input_in_errors=True, protected_namespaces=(), validate_assignment=True, defer_build=False
    )

    ways_out: ClassVar[Mapping[str, str]] = {"client": "there is no client: pass it to RerankCompressor(reranker=...)"}

    score_key: str = "relevance_score"
    status_key: str | None = "rerank_status"
    first_stage_score_key: str | None = None
    spans_key: str = "relevant_spans"
    cut_to_spans: bool = False

    @model_validator(mode="after")
    def _know_the_keys(self) -> Self:
        keys = [key for key in (self.score_key, self.status_key, self.spans_key) if key is not None]
        if len(set(keys)) < len(keys):
            raise rerankkit.InvalidRequestError(f"score_key, status_key and spans_key must be three keys, got {keys}")
        return self

    @model_validator(mode="after")
    def _know_the_text(self) -> Self:
        if "page_content" in self._field_names():
            raise rerankkit.InvalidRequestError("a document's page_content is the field 'text' here: name that instead")
        return self

    @model_validator(mode="after")
    def _know_the_spans(self) -> Self:
        if not self.cut_to_spans:
            return self
        if hasattr(self, "provider") and not getattr(self, "relevant_spans", None):
            raise rerankkit.InvalidRequestError(
                "cut_to_spans needs spans to be asked for: CohereRerank(model='rerank-v5.0-fast', relevant_spans=True)"
            )
        if self.title_key is not None or set(self._field_names()) - {"text"}:
            raise rerankkit.InvalidRequestError(
                "cut_to_spans cuts what was ranked, which must be the text alone: leave out title_key, metadata_fields and "
                "rank_fields"
            )
        return self

    def model_post_init(self, context: Any, /) -> None:  # noqa: ANN401 -- pydantic's signature
        """Be ready for a first call in an event loop."""
        super().model_post_init(context)
        _runs.import_tracers()

    @abstractmethod
    def _reranker(self) -> rerankkit.Reranker:
        """Who ranks."""

    @abstractmethod
    def share_connections(self, other: Self) -> None:
        """Use those of *other* where that makes no difference."""

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Yes: `langchain_core.load.dumps` writes it down, without its keys."""
        return True

    @property
    def lc_attributes(self) -> dict[str, Any]:
        """What `dumps` could not write down by itself."""
        retry: Retry | None = getattr(self, "retry", None)
        return {} if retry is None else {"retry": asdict(retry)}

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """The documents, most relevant first, as copies with their score in the metadata.

        Raises:
            rerankkit.RerankError: See `rerankkit.BaseReranker.rerank`.
        """
        return self._run(documents, query, _runs.config_for(callbacks), self.top_n)

    async def acompress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """The same in the running event loop."""
        return await self._arun(documents, query, _runs.config_for(callbacks), self.top_n)

    @override
    def invoke(self, input: RerankInput, config: RunnableConfig | None = None, **kwargs: Any) -> list[Document]:
        """The same as `compress_documents`.

        Args:
            input: The query and the documents.
            config: As for any Runnable.
            **kwargs: ``top_n``, for this call.
        """
        query, documents = parts(input)
        return self._run(documents, query, ensure_config(config), self._top_n_of(kwargs))

    @override
    async def ainvoke(self, input: RerankInput, config: RunnableConfig | None = None, **kwargs: Any) -> list[Document]:
        """The same in the running event loop."""
        query, documents = parts(input)
        return await self._arun(documents, query, ensure_config(config), self._top_n_of(kwargs))

    @override
    def configurable_fields(self, **kwargs: AnyConfigurableField) -> RunnableSerializable[RerankInput, list[Document]]:
        """The same with fields that a call's configuration may set; connections are shared where the service stays one."""
        from langchain_rerankkit._configurable import Configurable  # noqa: PLC0415 -- LangChain imports its own so late, too

        super().configurable_fields(**kwargs)  # which knows what may be configured
        return Configurable(default=self, fields=kwargs)

    def _run(self, documents: Sequence[Document], query: str, config: RunnableConfig, top_n: int | None) -> list[Document]:
        # what all ways in come to: one call, which is one run of whoever listens
        documents = listed(documents, query)
        reranker = self._reranker()
        run = _runs.start(self.get_name, query, config, partial(_runs.request_facts, reranker, documents, top_n))
        try:
            response = reranker.rerank(query, self._candidates(reranker, documents), top_n=top_n, timeout=self.timeout)
            found = self._answered(documents, response)
        except BaseException as error:
            if run is not None:
                _runs.fail(run, error)
            raise
        if run is not None:
            _runs.end(run, found, _runs.response_facts(response, len(found)))
        return found

    async def _arun(
        self, documents: Sequence[Document], query: str, config: RunnableConfig, top_n: int | None
    ) -> list[Document]:
        """The same in the running event loop."""
        check_loop()  # before LangChain looks for it
        documents = listed(documents, query)
        reranker = self._reranker()
        run = await _runs.astart(self.get_name, query, config, partial(_runs.request_facts, reranker, documents, top_n))
        try:
            response = await reranker.arerank(query, self._candidates(reranker, documents), top_n=top_n, timeout=self.timeout)
            found = self._answered(documents, response)
        except BaseException as error:
            if run is not None:
                await _runs.afail(run, error)
            raise
        if run is not None:
            await _runs.aend(run, found, _runs.response_facts(response, len(found)))
        return found

    def _top_n_of(self, options: Mapping[str, Any]) -> int | None:
        unknown = options.keys() - {"top_n"}
        if unknown:
            raise rerankkit.InvalidRequestError(f"invoke() has no option {min(unknown)!r}: it takes top_n")
        return check_top_n(options["top_n"]) if "top_n" in options else self.top_n

    def _answered(self, documents: Sequence[Document], response: rerankkit.RerankResponse[Any]) -> list[Document]:
        """Copies of what is returned, which say how it was ranked."""
        status = {} if response.status == "ok" or self.status_key is None else {self.status_key: response.status}
        stale = {self.status_key, self.spans_key} if self.tells_spans(response) else {self.status_key}
        return [self._marked(documents[result.index], result, status, stale) for result in self.kept(response)]

    def _candidates(self, reranker: rerankkit.Reranker, documents: Sequence[Document]) -> Sequence[str | rerankkit.Document]:
        if not are_all(Document, documents):
            check_documents(documents)
        texts = tuple(map(_PAGE_CONTENT, documents))
        metadata = (document.metadata for document in documents)
        has_scores = self.first_stage_score_key is not None
        scores = [self._first_stage_score(*each) for each in enumerate(documents)] if has_scores else repeat(None)
        return self.candidates(reranker, texts, metadata, scores)

    def _first_stage_score(self, index: int, document: Document) -> float | None:
        score: Any = document.metadata.get(self.first_stage_score_key)
        try:
            return None if score is None else float(score)
        except (TypeError, ValueError, OverflowError):
            raise rerankkit.InvalidRequestError(
                f"documents[{index}].metadata[{self.first_stage_score_key!r}] must be a number, got {score!r}; "
                "leave it out where there is none"
            ) from None

    def _marked(
        self,
        document: Document,
        result: rerankkit.RankedDocument[Any],
        status: Mapping[str, object],
        stale: Collection[str | None],
    ) -> Document:
        """A copy with its score, *status* and spans, and without what is *stale*: what an earlier call said of them."""
        metadata = {**document.metadata, self.score_key: result.relevance_score}
        for name in stale:
            metadata.pop(name, None)
        metadata.update(status)
        if not result.spans:
            return _copied(document, {"metadata": metadata})
        metadata[self.spans_key] = _spans.offsets(result.spans)
        text = _spans.cut(document.page_content, result.spans) if self.cut_to_spans else document.page_content
        return _copied(document, {"page_content": text, "metadata": metadata})


def _copied(document: Document, changed: dict[str, Any]) -> Document:
    """What `model_copy` returns, made in a third of the time of what LangChain's own class can hold."""
    if type(document) is not Document or document.__pydantic_extra__ or document.__pydantic_private__:
        return document.model_copy(update=changed)
    copy = Document.__new__(Document)
    vars(copy).update({**vars(document), **changed})
    _set_fields_set(copy, {*document.__pydantic_fields_set__, *changed})
    _set_extra(copy, None)
    _set_private(copy, None)
    return copy


_PAGE_CONTENT = attrgetter("page_content")
_set_fields_set, _set_extra, _set_private = (  # past pydantic's own way to set attributes, as its own copies do
    vars(BaseModel)[f"__pydantic_{name}__"].__set__ for name in ("fields_set", "extra", "private")
)


class RerankCompressor(RerankerSettings, BaseRerankCompressor):
    """Reranks with any reranker: ``RerankCompressor(reranker="cohere:rerank-v3.5", top_n=3)``, or a composition."""

    @property
    def lc_attributes(self) -> dict[str, Any]:
        """The reranker as `rerankkit.config` describes it, if it can."""
        return {"reranker": self._description()}

    @override
    def to_json(self) -> SerializedConstructor | SerializedNotImplemented:
        """For LangChain's `dumps`; a reranker that cannot be described is not written down."""
        return super().to_json() if self._description() else self.to_json_not_implemented()

    def _description(self) -> Mapping[str, object] | str | None:
        if isinstance(self.reranker, str | Mapping):
            return self.reranker
        try:
            return rerankkit.to_config(self.reranker)
        except rerankkit.InvalidRequestError:
            return None
