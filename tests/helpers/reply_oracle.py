"""Which replies are right, once more and in the plainest way: what the strict parser is held against."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from rerankkit.provider import Batch

Scores = dict[int, float]


class AmbiguousError(Exception):
    """The document means different things to different readers."""


def scores_of(service: str, batch: Batch, content: bytes) -> Scores:
    """The scores in a right reply to *batch*, by position.

    Raises:
        ValueError: The reply is wrong.
        AmbiguousError: JSON itself does not say.
    """
    found = READERS[service](_loaded(content.removeprefix(b"\xef\xbb\xbf")), batch)
    _want(len(dict(found)) == len(found), "a position twice")
    return dict(found)


def assert_agrees(service: str, batch: Batch, content: bytes, scores: Mapping[int, float] | None) -> None:
    """*scores*, None for a refusal, are what is read here, where there is only one way to read it."""
    try:
        expected: Mapping[int, float] | None = scores_of(service, batch, content)
    except AmbiguousError:
        return
    except ValueError:
        expected = None
    assert scores == expected, f"read as {scores}, expected {expected}"


def _loaded(content: bytes) -> Any:
    try:
        loaded = json.loads(content.decode(), object_pairs_hook=_object, parse_constant=_no_constant)
    except RecursionError:
        raise AmbiguousError("nested deeper than some read") from None
    except json.JSONDecodeError:
        raise
    except UnicodeDecodeError:
        raise
    except ValueError as error:
        raise AmbiguousError(str(error)) from None  # an integer longer than Python reads
    _look_for_halves(loaded)
    return loaded


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise AmbiguousError("a name twice")
    return dict(pairs)


def _no_constant(name: str) -> NoReturn:
    raise AmbiguousError(f"{name}, which JSON has not; where nobody looks at it, it may stand")


def _look_for_halves(value: Any, depth: int = 0) -> None:
    """RFC 8259 leaves open what half of a surrogate pair means, and how deep a document may be."""
    if depth > 150:
        raise AmbiguousError("nested deeper than some read")
    if isinstance(value, str) and any("\ud800" <= char <= "\udfff" for char in value):
        raise AmbiguousError("half a character")
    inner = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    for item in inner:
        _look_for_halves(item, depth + 1)


def _want(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(what)


def _member(of: Any, name: str, is_right: Callable[[Any], bool], *, optional: bool = False) -> Any:
    _want(isinstance(of, dict), f"{name}'s holder is no object")
    _want(name in of or optional, f"no {name}")
    value = of.get(name)
    _want((optional and value is None) or is_right(value), f"{name} is {value!r:.40}")
    return value


def is_whole(value: Any) -> bool:
    return type(value) is int


def is_finite(value: Any) -> bool:
    """Whether it is a number that a float holds."""
    return type(value) in (int, float) and abs(value) <= 1.7976931348623157e308 and math.isfinite(value)


def is_text(value: Any) -> bool:
    return type(value) is str


def is_list(value: Any) -> bool:
    return type(value) is list


def is_count(value: Any) -> bool:
    return is_finite(value) and value >= 0


def is_whole_count(value: Any) -> bool:
    return is_whole(value) and value >= 0


def _texts(of: Any, name: str) -> None:
    for text in _member(of, name, is_list, optional=True) or []:
        _want(is_text(text), f"{name} holds no text")


def _results(answer: Any, batch: Batch, name: str, score: str) -> list[tuple[int, float]]:
    """The results of a pointwise service: none missing, none out of range."""
    items = _member(answer, name, is_list)
    found = [(_member(item, "index", is_whole), float(_member(item, score, is_finite))) for item in items]
    size = len(batch.documents)
    _want(all(0 <= index < size for index, _ in found), "an index out of range")
    _want(len({index for index, _ in found}) >= min(batch.top_n or size, size), "results are missing")
    return found


def _cohere(answer: Any, batch: Batch) -> list[tuple[int, float]]:
    found = _results(answer, batch, "results", "relevance_score")
    for item in answer["results"]:
        _spans(item, len(batch.documents[item["index"]]))
    _member(answer, "id", is_text, optional=True)
    _texts(answer, "warnings")
    meta = _member(answer, "meta", lambda value: type(value) is dict, optional=True) or {}
    _texts(meta, "warnings")
    units = _member(meta, "billed_units", lambda value: type(value) is dict, optional=True) or {}
    for name in units:
        _member(units, name, is_count, optional=True)
    return found


def _spans(item: Any, length: int) -> None:
    for span in _member(item, "relevant_spans", is_list, optional=True) or []:
        start, end = _member(span, "start", is_whole), _member(span, "end", is_whole)
        _member(span, "score", is_finite)
        _want(0 <= start <= end <= length, "a span outside the text")


def _voyage(answer: Any, batch: Batch) -> list[tuple[int, float]]:
    _usage(answer, "total_tokens")
    return _results(answer, batch, "data", "relevance_score")


def _pinecone(answer: Any, batch: Batch) -> list[tuple[int, float]]:
    _usage(answer, "rerank_units")
    return _results(answer, batch, "data", "score")


def _usage(answer: Any, unit: str) -> None:
    _member(answer, "model", is_text, optional=True)
    usage = _member(answer, "usage", lambda value: type(value) is dict, optional=True)
    _member(usage or {}, unit, is_whole_count, optional=True)


def _kendra(answer: Any, batch: Batch) -> list[tuple[int, float]]:
    """A document answers under its own id or its group's; not all have to."""
    _member(answer, "RescoreId", is_text, optional=True)
    items = _member(answer, "ResultItems", is_list)
    found = []
    for item in items:
        name, score = _member(item, "DocumentId", is_text), float(_member(item, "Score", is_finite))
        sent = [index for index, entry in enumerate(batch.documents) if name in (entry["Id"], entry.get("GroupId"))]
        _want(bool(sent), "an id that was not sent")
        found += [(index, score) for index in sent]
    _want(bool(found), "no result at all")
    return found


READERS: dict[str, Callable[[Any, Batch], list[tuple[int, float]]]] = {
    "cohere": _cohere,
    "voyage": _voyage,
    "pinecone": _pinecone,
    "kendra": _kendra,
}
