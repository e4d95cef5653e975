"""A LangChain document compressor over any reranker.

Documents keep their class, id and metadata; copies carry the score, and the caller's are not touched.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
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
        first_stage_score_key: The metadata key of the first-stage score, which Kendra takes into account.
    """

    score_key: str = "relevance_score"
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
        return [self._scored(documents[result.index], result.relevance_score) for result in self.kept(response)]

    async def acompress_documents(
        self,
        documents: Sequence[Document],
        query: str,
        callbacks: Callbacks | None = None,
    ) -> Sequence[Document]:
        """The same in the running event loop."""
        documents = list(documents)
        response = await self._reranker().arerank(query, self._candidates(documents), top_n=self.top_n, timeout=self.timeout)
        return [self._scored(documents[result.index], result.relevance_score) for result in self.kept(response)]

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

    def _scored(self, document: Document, score: float | None) -> Document:
        return document.model_copy(update={"metadata": {**document.metadata, self.score_key: score}})


class RerankCompressor(RerankerSettings, BaseRerankCompressor):
    """Reranks with any reranker: ``RerankCompressor(reranker="cohere:rerank-v3.5", top_n=3)``."""
