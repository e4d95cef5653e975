"""Input is checked before anything is sent: each error names the value, the limit and the way out."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeGuard, cast

from rerankkit.errors import InvalidRequestError
from rerankkit.types import D, Document, DocumentLike

MODEL_FORM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,199}")


def is_blank(text: str) -> bool:
    """Whether *text* holds nothing but white space."""
    return not text or text.isspace()


def check_query(query: object) -> str:
    if not isinstance(query, str):
        raise InvalidRequestError(f"query must be a str, got {type(query).__name__}")
    if is_blank(query):
        raise InvalidRequestError(f"query is blank ({query!r}): there is nothing to rank by; pass what the user asked")
    return query


def check_top_n(top_n: object) -> int | None:
    if top_n is None:
        return None
    return check_integer("top_n", top_n, 1, None, "pass None to rank all documents")


def check_timeout(timeout: object) -> float:
    if not is_number(timeout) or not math.isfinite(timeout) or timeout <= 0:
        raise InvalidRequestError(f"timeout must be a finite number of seconds above 0, got {timeout!r}")
    return float(timeout)


def is_number(value: object) -> TypeGuard[float]:
    """Whether *value* is an int or a float, and not a bool."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def check_integer(name: str, value: object, least: int, most: int | None, hint: str = "") -> int:
    """*value*, if it is a whole number in ``[least, most]``."""
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= (math.inf if most is None else most):
        return value
    bounds = f"at least {least}" if most is None else f"from {least} to {most}"
    raise InvalidRequestError(f"{name} must be a whole number {bounds}, got {value!r}" + (f"; {hint}" if hint else ""))


def check_flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidRequestError(f"{name} must be True or False, got {value!r}")
    return value


def check_model(value: object) -> str:
    if not isinstance(value, str) or not MODEL_FORM.fullmatch(value):
        raise InvalidRequestError(
            f"model must be a name such as 'rerank-v3.5' (letters, digits and . _ : / @ -, at most 200), got {value!r}"
        )
    return value


def check_choice(name: str, value: object, choices: Sequence[str]) -> str:
    if not isinstance(value, str) or value not in choices:
        raise InvalidRequestError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")
    return value


def check_header_text(name: str, value: object) -> str:
    """*value*, if it may stand in an HTTP header."""
    if not isinstance(value, str) or is_blank(value) or not (value.isascii() and value.isprintable()):
        raise InvalidRequestError(f"{name} must be printable ASCII text, got {value!r}")
    return value


def check_names(name: str, value: object) -> tuple[str, ...]:
    """*value* as a tuple of distinct, non-empty names."""
    names = _texts(value)
    if not names or not all(names) or len(set(names)) != len(names):
        raise InvalidRequestError(f"{name} must be a list of field names such as ['title', 'text'], none twice, got {value!r}")
    return names


def _texts(value: object) -> tuple[str, ...] | None:
    """*value* as a tuple, if it is a list of texts."""
    if not isinstance(value, list | tuple):
        return None
    items = cast("Sequence[object]", value)
    texts = tuple(item for item in items if isinstance(item, str))
    return texts if len(texts) == len(items) else None


def as_documents(documents: Iterable[D]) -> tuple[D, ...]:
    """The caller's documents, if they are several of something."""
    kind = type(cast("object", documents)).__name__
    if isinstance(documents, str | bytes | Mapping | Document):
        raise InvalidRequestError(f"documents must be a list of documents, got one {kind}; wrap it in a list")
    try:
        return tuple(documents)
    except TypeError:
        raise InvalidRequestError(f"documents must be a list of documents, got {kind}") from None


def as_items(documents: Sequence[DocumentLike]) -> tuple[str | Document, ...]:
    """Every document as a text or a `Document`, position by position."""
    return tuple(
        document if isinstance(document, str) else _as_document(index, document) for index, document in enumerate(documents)
    )


def _as_document(index: int, document: Mapping[str, object] | Document) -> Document:
    if isinstance(document, Document):
        if not isinstance(document.text, str):
            raise InvalidRequestError(f"documents[{index}].text must be a str, got {type(document.text).__name__}")
        return document
    if isinstance(document, Mapping):
        return _from_mapping(index, document)
    raise InvalidRequestError(
        f"documents[{index}] is {type(document).__name__}, no text: pass a str, a mapping with a 'text', or a Document"
    )


def _from_mapping(index: int, fields: Mapping[str, object]) -> Document:
    """The document a mapping describes: the keys that `Document` knows, where they are of its types."""
    text = fields.get("text", "")
    if not isinstance(text, str):
        raise InvalidRequestError(f"documents[{index}]['text'] must be a str, got {type(text).__name__}")
    score = fields.get("score")
    return Document(
        text=text,
        title=_text(fields, "title"),
        id=_text(fields, "id"),
        score=float(score) if is_number(score) else None,
        fields=fields,
        group_id=_text(fields, "group_id"),
        tokenized_title=_texts(fields.get("tokenized_title")),
        tokenized_body=_texts(fields.get("tokenized_body")),
    )


def _text(fields: Mapping[str, object], name: str) -> str | None:
    value = fields.get(name)
    return value if isinstance(value, str) else None
