"""Token counts without a tokenizer: two bounds, one for each way to be wrong, and a likely count between them.

UTF-8 bytes per token lie between the two for every script: about 4 for English, 3 for Chinese and Japanese
(a token a character), 5 to 6 for Cyrillic and Arabic.  The upper count cuts batches (rather one request more
than one refused), the lower one refuses queries (rather let the service decide than refuse what fits); the likely
one tells beforehand what a call costs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import filterfalse
from typing import TypeAlias

Tokenizer: TypeAlias = Callable[[str], int]
"""How many tokens a text has."""

FEWEST_BYTES_PER_TOKEN = 3
MOST_BYTES_PER_TOKEN = 8


def utf8_length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def utf8_length_of(texts: Sequence[str]) -> int:
    """That of all *texts* together."""
    return sum(map(len, texts)) + sum(utf8_length(text) - len(text) for text in filterfalse(str.isascii, texts))


def most_tokens(text: str) -> int:
    """An estimate that is hardly ever too low."""
    return utf8_length(text) // FEWEST_BYTES_PER_TOKEN + 1


def least_tokens(text: str) -> int:
    """An estimate that is hardly ever too high."""
    return utf8_length(text) // MOST_BYTES_PER_TOKEN


BYTES_PER_LATIN_TOKEN = 4
BYTES_PER_ALPHABET_TOKEN = 5.5  # Greek, Cyrillic, Armenian, Hebrew, Arabic: letters of two bytes
ALPHABETS = bytes(range(0xCE, 0xE0))  # the first bytes of their letters in UTF-8, U+0380 to U+07FF
THREE_BYTES = bytes(range(0xE0, 0xF0))  # and of the characters from U+0800 on: a token each
FOUR_BYTES = bytes(range(0xF0, 0xF5))  # and of those from U+10000 on, such as emoji: a token each


def likely_tokens(text: str) -> int:
    """A token for 4 bytes of Latin script, for 5.5 of other alphabets, for each character of other scripts; at least 1."""
    if text.isascii():
        return len(text) // BYTES_PER_LATIN_TOKEN + 1
    encoded = text.encode("utf-8", "replace")
    letters, threes, fours = (_count(encoded, firsts) for firsts in (ALPHABETS, THREE_BYTES, FOUR_BYTES))
    latin = len(encoded) - 2 * letters - 3 * threes - 4 * fours
    return int(latin / BYTES_PER_LATIN_TOKEN + 2 * letters / BYTES_PER_ALPHABET_TOKEN + threes + fours) + 1


def _count(encoded: bytes, firsts: bytes) -> int:
    """How many bytes of *encoded* are among *firsts*."""
    return len(encoded) - len(encoded.translate(None, firsts))
