"""What compressors are called with, and what is called by mistake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from langchain_core.documents import Document
from typing_extensions import TypedDict

from rerankkit.errors import InvalidRequestError

AROUND_A_RETRIEVER = "what a retriever finds is reranked by RerankRetriever(base_retriever=..., reranker=...)"


class RerankInput(TypedDict):
    """What a compressor is invoked with."""

    query: str
    documents: Sequence[Document]


def check_documents(documents: Sequence[object]) -> None:
    for index, document in enumerate(documents):
        if isinstance(document, Document):
            continue
        kind: type = type(document)
        if issubclass(kind, tuple) and any(isinstance(part, Document) for part in cast("tuple[object, ...]", document)):
            raise InvalidRequestError(
                f"documents[{index}] is a pair: take the documents out of the pairs: [document for document, _ in pairs]"
            )
        module = kind.__module__.partition(".")[0]
        name = kind.__name__ if module == "builtins" else f"{module}'s {kind.__name__}"
        raise InvalidRequestError(f"documents[{index}] must be a LangChain Document, got {name}: wrap it in one")


def listed(documents: Sequence[Document], query: str) -> list[Document]:
    kind = type(documents).__name__
    if isinstance(documents, str) and isinstance(query, list | tuple | Document):
        raise InvalidRequestError("documents come first, then the query: compress_documents(documents, query)")
    if isinstance(documents, str | bytes | Mapping | Document):
        raise InvalidRequestError(f"documents must be a list of Documents, got one {kind}; wrap it in a list")
    try:
        return list(documents)
    except TypeError:
        raise InvalidRequestError(f"documents must be a list of Documents, got {kind}") from None


def parts(given: RerankInput) -> tuple[str, Sequence[Document]]:
    if not isinstance(given, Mapping) or not {"query", "documents"} <= given.keys():
        keys = sorted(map(str, given)) if isinstance(given, Mapping) else type(given).__name__
        raise InvalidRequestError(
            f"a reranker is invoked with {{'query': ..., 'documents': ...}}, got {keys}; {AROUND_A_RETRIEVER}"
        )
    return given["query"], given["documents"]
