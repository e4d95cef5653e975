"""What newcomers to the adapters write, and the way out of each."""

from __future__ import annotations

from collections.abc import Iterable

from rerankkit._checks import kind_of
from rerankkit.errors import InvalidRequestError
from rerankkit.reranker import Reranker
from rerankkit.retry import Retry

ADAPTERS = {
    "compress_documents": ("a LangChain compressor", "LangChain", "langchain_rerankkit"),
    "postprocess_nodes": ("a LlamaIndex postprocessor", "LlamaIndex", "llamaindex_rerankkit"),
}
"""By the method that its framework calls: what such an object is, of which framework, and where ours is found."""


def no_option(name: str, owner: str, known: Iterable[str]) -> str:
    """That *owner* has no option *name*, and which one may be meant."""
    import difflib  # noqa: PLC0415 -- for mistakes alone

    names = {each.casefold(): each for each in known}
    close = difflib.get_close_matches(name.casefold(), list(names), n=1)
    return f"{name} is no option of {owner}" + (f": did you mean {names[close[0]]}?" if close else "")


def near_miss(name: str, known: Iterable[str]) -> str | None:
    """Which of *known* is *name*, but for a slip of the finger: ``topn`` of top_n, and not ``top_k``, which others know."""
    import difflib  # noqa: PLC0415 -- as above

    close = difflib.get_close_matches(name.casefold(), list(known), n=1, cutoff=0.85)
    return close[0] if close else None


def check_is_no_adapter(value: object, asking: type, *, nests: bool = False) -> None:
    """Refuse as a reranker what a framework asks by itself; *nests*: one of the framework of *asking* will do."""
    theirs, ours = _method_of(type(value)), _method_of(asking)
    if theirs is None or isinstance(value, Reranker) or (nests and theirs != "postprocess_nodes"):
        return
    name, (kind, _, _) = type(value).__name__, ADAPTERS[theirs]
    if theirs == ours:
        service = str(getattr(value, "provider", "cohere"))
        raise InvalidRequestError(
            f"{name} is {kind} itself: use it directly, or pass '{service}:...' or Client({service.capitalize()}(...))"
        )
    _, framework, package = ADAPTERS[ours or "compress_documents"]
    source = type(value).__module__.partition(".")[0]
    raise InvalidRequestError(f"{name} of {source} is {kind}: for {framework}, import one from {package}")


def _method_of(adapter: type) -> str | None:
    return next((method for method in ADAPTERS if hasattr(adapter, method)), None)


def check_retry(value: object) -> None:
    """Refuse what is no `Retry`, nor a description of one."""
    if value is None or isinstance(value, Retry | dict):
        return
    attempts = value if type(value) is int and 0 < value < 100 else 3  # noqa: PLR2004 -- more is no number of attempts
    raise InvalidRequestError(f"retry must be a Retry, got {kind_of(value)}: pass retry=Retry(attempts={attempts})")
