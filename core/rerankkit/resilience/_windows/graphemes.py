"""Where a text may be cut: between what readers take for characters, and between words.

After Unicode's UAX 29 (extended grapheme clusters), by what Python knows of characters; of its rare cases some are missing,
such as marks that come before their letter.
"""

from __future__ import annotations

import re
import unicodedata

JOINER = "\u200d"
VIRAMA = 9  # the canonical combining class of the signs that join Indic consonants
EXTENDING = re.compile("[\u200c\u200d\u0e33\u0eb3\uff9e\uff9f\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]")
FLAG_LETTERS = "".join(map(chr, range(0x1F1E6, 0x1F200)))
INITIAL_JAMO = re.compile("[\u1100-\u115f\ua960-\ua97c]")
LATER_JAMO = re.compile("[\u1160-\u11ff\ud7b0-\ud7fb]")
SYLLABLE = re.compile("[\u1100-\u115f\ua960-\ua97c\uac00-\ud7a3]")

UNSPACED = re.compile(
    "[\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]"
)
"""Letters of scripts that put no spaces between words: Thai, Lao, Tibetan, Burmese, Khmer, Japanese, Chinese."""


def is_cut(text: str, at: int) -> bool:
    """Whether a text may be cut before *at*, which is within it: not in the middle of a character."""
    before, after = text[at - 1], text[at]
    if before.isascii() and after.isascii():
        return before + after != "\r\n"
    return not (
        EXTENDING.match(after)
        or unicodedata.category(after).startswith("M")
        or before == JOINER
        or unicodedata.combining(before) == VIRAMA
        or ("\ud800" <= before <= "\udbff" and "\udc00" <= after <= "\udfff")
        or _is_within_hangul(before, after)
        or _is_within_flag(text, at)
    )


def is_word(text: str, at: int) -> bool:
    """Whether a word begins at *at*, which is within the text; in a script without spaces any letter may."""
    before, after = text[at - 1], text[at]
    if after.isspace():
        return False
    begins = before.isspace() or UNSPACED.match(after) or (UNSPACED.match(before) and after.isalnum())
    return bool(begins) and is_cut(text, at)


def _is_within_hangul(before: str, after: str) -> bool:
    return bool(LATER_JAMO.match(after) or (INITIAL_JAMO.match(before) and SYLLABLE.match(after)))


def _is_within_flag(text: str, at: int) -> bool:
    """Whether *at* lies between the two letters of a flag: an odd number of such letters stands before it."""
    if text[at] not in FLAG_LETTERS or text[at - 1] not in FLAG_LETTERS:
        return False
    return (at - len(text[:at].rstrip(FLAG_LETTERS))) % 2 == 1
