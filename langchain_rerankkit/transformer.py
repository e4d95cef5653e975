"""A LangChain document transformer that orders documents by a query known beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.documents import BaseDocumentTransformer, Document
from typing_extensions import override

from langchain_rerankkit._compressing import Compressing
from rerankkit.errors import InvalidRequestError


class RerankTransformer(Compressing, BaseDocumentTransformer):
    """Reranks for one query: ``RerankTransformer(query="refunds", reranker=CohereRerank(top_n=20))``.

    Attributes:
        query: What the documents are ranked for.
    """

    query: str

    @override
    def transform_documents(self, documents: Sequence[Document], **kwargs: Any) -> Sequence[Document]:
        """The documents, most relevant first; no option of a call is known."""
        _know_none(kwargs)
        return self.compressor().compress_documents(documents, self.query)

    @override
    async def atransform_documents(self, documents: Sequence[Document], **kwargs: Any) -> Sequence[Document]:
        """The same in the running event loop."""
        _know_none(kwargs)
        return await self.compressor().acompress_documents(documents, self.query)


def _know_none(options: dict[str, Any]) -> None:
    if options:
        raise InvalidRequestError(f"transform_documents() has no option {min(options)!r}: set it on the compressor")
