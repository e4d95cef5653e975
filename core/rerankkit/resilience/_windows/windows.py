"""A long text is cut into overlapping windows, each short enough."""

from __future__ import annotations

from collections.abc import Callable

from rerankkit._tokens import FEWEST_BYTES_PER_TOKEN, Tokenizer
from rerankkit.resilience._windows.graphemes import is_cut, is_word


def windows(text: str, most: int, overlap: int, count: Tokenizer) -> list[tuple[int, int]]:
    """The ``[start, end)`` of each: together all of *text*, none of more than *most* tokens.

    They begin and end between words where they can, else between what readers take for characters. A single character that
    is too long is cut all the same, and a single code point left as it is. Neighbours share at most *overlap* tokens, and
    no more than half of the first one's code points, so that there are never too many windows.
    """
    found = [first_window(text, most, count)] if text else []
    while found and found[-1][1] < len(text):
        found.append(_following(text, found[-1], most, overlap, count))
    return found


def first_window(text: str, most: int, count: Tokenizer) -> tuple[int, int]:
    """The ``[start, end)`` of the first of them."""
    return 0, _end(text, 0, most, count)


def _following(text: str, before: tuple[int, int], most: int, overlap: int, count: Tokenizer) -> tuple[int, int]:
    """The next window: one that shares so much with the last that there is room for nothing else shares nothing."""
    shared = _shared(text, before, overlap, count)
    end = _end(text, shared, most, count)
    return (shared, end) if end > before[1] else (before[1], _end(text, before[1], most, count))


def _end(text: str, start: int, most: int, count: Tokenizer) -> int:
    def fits(length: int) -> bool:
        return count(text[start : start + length]) <= most

    length = len(text) - start
    while True:
        length = _longest(fits, 1, length, most * FEWEST_BYTES_PER_TOKEN)
        end = _cut_before(text, start, start + length)
        if end - start <= 1 or fits(end - start):
            return end
        length = end - start - 1  # a tokenizer that finds more in a part than in the whole


def _cut_before(text: str, start: int, last: int) -> int:
    """The best place to end at, no later than *last*: after a word in the second half, after any character, or anywhere."""
    if last == len(text):
        return last
    middle = start + (last - start) // 2
    word = next((at for at in range(last, middle, -1) if is_word(text, at)), None)
    return word or next((at for at in range(last, start, -1) if is_cut(text, at)), last)


def _shared(text: str, window: tuple[int, int], overlap: int, count: Tokenizer) -> int:
    """Where the next window begins to share the end of this one: at a word, or within a long one at a character."""
    start, end = window

    def fits(length: int) -> bool:
        return count(text[end - length : end]) <= overlap

    first = end - _longest(fits, 0, (end - start) // 2, overlap * FEWEST_BYTES_PER_TOKEN)
    word = next((at for at in range(first, end + 1) if is_word(text, at)), None)
    return word or next((at for at in range(first, end) if is_cut(text, at)), end)


def _longest(fits: Callable[[int], bool], least: int, most: int, guess: int) -> int:
    """The greatest length from *least*, which is taken for granted, to *most* that fits, if all shorter ones do, too.

    From *guess* upwards the lengths are doubled: what is looked at is hardly longer than what is found.
    """
    is_bounded = False
    length = max(least + 1, guess)
    while least < most:
        length = min(length, most)
        if fits(length):
            least = length
        else:
            most, is_bounded = length - 1, True
        length = (least + most + 1) // 2 if is_bounded else 2 * least
    return least
