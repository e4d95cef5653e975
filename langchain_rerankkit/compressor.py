"""A LangChain document compressor over any reranker.

Documents keep their class, id and metadata; copies carry the score, and the caller's are not touched.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Self

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from pydantic import model_validator

import rerankkit
from rerankkit.settings import AdapterSettings, RerankerSettings


class BaseRerankCompressor(AdapterSettings, BaseDocumentCompressor):
    """What all compressors here do.

    Attributes:
        score_key: The metadata key of the score; None there means that the document was not scored.
        status_key: The metadata key of the answer's status, such as ``"degraded"``, which is there only if the first choice
            did not rank; None: it is told nowhere.
        first_stage_score_key: The metadata key of the first-stage score, which Kendra takes into account.
    """

    score_key: str = "relevance_score"
    status_key: str | None = "rerank_status"
    first_stage_score_key: str | None = None

    @model_validator(mode="after")
    def _know_the_text(self) -> Self:
        if "page_content" in self._field_names():
            raise rerankkit.InvalidRequestError("a document's page_content is the field 'text' here: name that instead")
        return self

    @abstractmethod
    def _reranker(self) -> rerankkit.Reranker:
        """Who ranks."""

    def compress_documents(
        self,
        documents: Sequence[Document],
        query: str,
        callbacks: Callbacks | None = None,
    ) -> Sequence[Document]:
        """The documents, most relevant first, as copies with their score in the metadata.

        Raises:
            rerankkit.RerankError: See `rerankkit.BaseReranker.rerank`.
        """
        documents = list(documents)
        response = self._reranker().rerank(query, self._candidates(documents), top_n=self.top_n, timeout=self.timeout)
        return self._answered(documents, response)

    async def acompress_documents(
        self,
        documents: Sequence[Document],
        query: str,
        callbacks: Callbacks | None = None,
    ) -> Sequence[Document]:
        """The same in the running event loop."""
        documents = list(documents)
        response = await self._reranker().arerank(query, self._candidates(documents), top_n=self.top_n, timeout=self.timeout)
        return self._answered(documents, response)

    def _candidates(self, documents: Sequence[Document]) -> list[str | rerankkit.Document]:
        for index, document in enumerate(documents):
            if not isinstance(document, Document):
                kind = f"{type(document).__module__.partition('.')[0]}'s {type(document).__name__}"
                raise rerankkit.InvalidRequestError(f"documents[{index}] must be a LangChain Document, got {kind}")
        return [
            self.candidate(document.page_content, document.metadata, self._first_stage_score(index, document))
            for index, document in enumerate(documents)
        ]

    def _first_stage_score(self, index: int, document: Document) -> float | None:
        if self.first_stage_score_key is None:
            return None
        score: Any = document.metadata.get(self.first_stage_score_key)
        try:
            return None if score is None else float(score)
        except (TypeError, ValueError, OverflowError):
            raise rerankkit.InvalidRequestError(
                f"documents[{index}].metadata[{self.first_stage_score_key!r}] must be a number, got {score!r}; "
                "leave it out where there is none"
            ) from None

    def _answered(self, documents: Sequence[Document], response: rerankkit.RerankResponse[Any]) -> list[Document]:
        """Copies of what is returned, which say how it was ranked."""
        status = {} if response.status == "ok" or self.status_key is None else {self.status_key: response.status}
        return [
            self._marked(documents[result.index], {self.score_key: result.relevance_score, **status})
            for result in self.kept(response)
        ]

    def _marked(self, document: Document, marks: Mapping[str, object]) -> Document:
        """A copy with *marks*, and without a status that it may have from an earlier call."""
        metadata = {name: value for name, value in document.metadata.items() if name != self.status_key}
        return document.model_copy(update={"metadata": {**metadata, **marks}})


class RerankCompressor(RerankerSettings, BaseRerankCompressor):
    """Reranks with any reranker: ``RerankCompressor(reranker="cohere:rerank-v3.5", top_n=3)``, or a composition."""
