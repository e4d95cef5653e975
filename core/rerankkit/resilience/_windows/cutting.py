"""Documents with long texts as windows of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from typing import TypeAlias

from rerankkit._rendering import field_value
from rerankkit.types import Document

Cut: TypeAlias = Callable[[int, str], Sequence[tuple[int, int]]]
"""The ``[start, end)`` of the windows of the text at a position; none if it is short enough."""


@dataclass(frozen=True, slots=True)
class Window:
    """What is sent of a document.

    Attributes:
        index: The document's position in the caller's list.
        item: The document, with a part of its text.
        start: Where that begins, in code points.
        end: Where the next thing begins.
        is_part: Whether it is not the whole document.
    """

    index: int
    item: str | Document
    start: int = 0
    end: int = 0
    is_part: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether a service that takes strings is sent this text and nothing else, so that its spans count in it."""
        return isinstance(self.item, str) or (self.item.fields is None and self.item.title is None)


def cut_all(items: Iterable[str | Document], cut: Cut) -> list[Window]:
    """All documents, the first windows of all before the second ones: what a service's limit cuts off are the last."""
    rounds = zip_longest(*(_windows(index, item, cut) for index, item in enumerate(items)))
    return [window for window in chain.from_iterable(rounds) if window is not None]


def _windows(index: int, item: str | Document, cut: Cut) -> list[Window]:
    text = _text(item)
    found = [Window(index, _with_text(item, text[start:end]), start, end, is_part=True) for start, end in cut(index, text)]
    return found or [Window(index, item)]


def _text(item: str | Document) -> str:
    """What may be cut of a document: nothing, where it is to be left whole."""
    return "" if is_left_whole(item) else long_text(item)


def is_left_whole(item: str | Document) -> bool:
    """Whether Kendra ranks its tokens instead of its text, or the three documents that a group may have."""
    return isinstance(item, Document) and (item.group_id is not None or item.tokenized_body is not None)


def long_text(item: str | Document) -> str:
    """What may be long of a document."""
    text = item if isinstance(item, str) else field_value(item, "text")
    return text if isinstance(text, str) else ""


def _with_text(item: str | Document, text: str) -> str | Document:
    if isinstance(item, str):
        return text
    is_field = item.fields is not None and "text" in item.fields
    return replace(item, text=text, fields={**(item.fields or {}), "text": text} if is_field else item.fields)
