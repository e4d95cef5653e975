"""What is ranked of a document, and its form for services that take strings only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, cast

import orjson

from rerankkit._checks import are_plain, are_rankable, is_blank
from rerankkit._wire import mended
from rerankkit.errors import InvalidRequestError
from rerankkit.types import Document

if TYPE_CHECKING:
    import yaml


def plain_texts(items: Sequence[str | Document]) -> Sequence[str] | None:
    """The texts of *items*, if there is something in each, and nothing else to rank; None: each must be looked at."""
    try:
        return cast("Sequence[str]", items) if are_rankable(items) else None
    except TypeError:  # there is more than texts among them
        texts = [item.text for item in items] if are_plain(items) else None
    return texts if texts is not None and are_rankable(texts) else None


def ranked_text(index: int, item: str | Document, rank_fields: Sequence[str] | None) -> str:
    """The text that stands for a document: its own, or that of the fields named.

    Several fields become YAML in the order of *rank_fields*; a single text stands alone.

    Raises:
        InvalidRequestError: A structured document has nothing of what is to be ranked.
    """
    if isinstance(item, str):
        return item
    if rank_fields is None:
        return own_text(index, item)
    fields = {name: value for name in rank_fields if (value := field_value(item, name)) is not None}
    if not fields and not is_empty(item):
        raise missing_fields(index, item, rank_fields)
    if all_blank(fields):
        return ""
    only = fields[rank_fields[0]] if len(rank_fields) == 1 else None
    return only if isinstance(only, str) else to_yaml(index, fields)


def own_text(index: int, item: Document) -> str:
    """The text of a document without regard to its other fields; empty if there is nothing at all in it."""
    text = field_value(item, "text")
    if text is None and not is_empty(item):
        raise missing_fields(index, item, ("text",))
    if not isinstance(text, str | None):
        raise InvalidRequestError(f"documents[{index}]['text'] must be a str, got {type(text).__name__}")
    return text or ""


def is_empty(item: str | Document) -> bool:
    """Whether there is nothing in a document that anyone could rank."""
    if isinstance(item, str):
        return is_blank(item)
    held = (item.text, item.title, *(item.fields or {}).values(), *(item.tokenized_body or ()), *(item.tokenized_title or ()))
    return all(value is None or (isinstance(value, str) and is_blank(value)) for value in held)


def field_value(item: Document, name: str) -> object:
    """The named field; ``text`` and ``title`` are fields of every document that has them.  None: it has not."""
    if item.fields is not None and name in item.fields:
        return item.fields[name]
    has_text = item.text or item.fields is None
    return {"text": item.text if has_text else None, "title": item.title}.get(name)


def all_blank(fields: Mapping[str, object]) -> bool:
    return all(isinstance(value, str) and is_blank(value) for value in fields.values())


def missing_fields(index: int, item: Document, names: Sequence[str]) -> InvalidRequestError:
    """The error for a document that has nothing under any of *names*."""
    has = [repr(name) for name, value in (item.fields or {}).items() if value is not None]
    held = f"it has {', '.join(has)}" if has else "it has a text alone" if item.text else "it is empty"
    way_out = ", or name the fields to rank with rank_fields=, if the service takes it" if tuple(names) == ("text",) else ""
    return InvalidRequestError(f"documents[{index}] has no {' or '.join(map(repr, names))} ({held}): give it one{way_out}")


def absent_fields(items: Sequence[str | Document], rank_fields: Sequence[str]) -> tuple[str, ...]:
    """A warning for each field that no structured document has: a slip of the pen, more often than not."""
    structured = [item for item in items if isinstance(item, Document)] if rank_fields else []
    absent = [name for name in rank_fields if structured and all(field_value(item, name) is None for item in structured)]
    return tuple(f"no document has the rank field {name!r}" for name in absent)


def to_yaml(index: int, fields: Mapping[str, object]) -> str:
    """*fields* as YAML in their own order: what comes last is the first to be cut off.

    https://docs.cohere.com/docs/reranking-best-practices (read 2026-11-20).
    """
    import yaml  # noqa: PLC0415 -- 20 ms that only structured documents need

    try:
        return yaml.dump(dict(fields), Dumper=_dumper(), sort_keys=False, allow_unicode=True, width=math.inf)
    except (yaml.YAMLError, RecursionError) as error:
        culprit = f"{error.args[-1]!r}" if isinstance(error, yaml.YAMLError) else "a value nested too deep"
        raise InvalidRequestError(
            f"documents[{index}]: {culprit} has no YAML form; pass texts, numbers, dates, lists and mappings"
        ) from error


@cache
def _dumper() -> type[yaml.SafeDumper]:
    """One that writes what is there twice twice, and a text of any class as a text that can be sent."""
    import yaml  # noqa: PLC0415 -- as above

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: object) -> bool:
            return True

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        return dumper.represent_str(mended(str(value)))

    Dumper.add_representer(str, text)
    Dumper.add_multi_representer(str, text)
    return Dumper


def as_object(index: int, item: str | Document, rank_fields: Sequence[str], *, whole: bool) -> Mapping[str, object]:
    """A document for services that take objects: the fields to rank, and with *whole* its others as well.

    Raises:
        InvalidRequestError: It has not all of the fields that are to be ranked, or a number that JSON has not.
    """
    if isinstance(item, str):
        item = Document(text=item, fields={rank_fields[0]: item} if len(rank_fields) == 1 else None)
    wanted = {name: value for name in rank_fields if (value := field_value(item, name)) is not None}
    if len(wanted) < len(rank_fields):
        raise missing_fields(index, item, [name for name in rank_fields if name not in wanted])
    found = {**item.fields, **wanted} if whole and item.fields is not None else wanted
    for name, value in found.items():
        _refuse_infinite(f"documents[{index}][{name!r}]", value)
    return found


def as_text(index: int, name: str, value: object) -> str:
    """The value of a field for services whose fields are texts: JSON."""
    try:
        return orjson.dumps(value).decode()
    except TypeError as error:
        raise InvalidRequestError(f"documents[{index}][{name!r}] has no JSON form: {error}; pass a text") from error


def _refuse_infinite(place: str, value: object) -> None:
    """JSON would have null instead, unsaid."""
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidRequestError(f"{place} is {value}, which has no JSON form: pass a finite number, or None")
