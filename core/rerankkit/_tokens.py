"""Token counts without a tokenizer: two bounds, one for each way to be wrong.

UTF-8 bytes per token lie between the two for every script: about 4 for English, 3 for Chinese and Japanese
(a token a character), 5 to 6 for Cyrillic and Arabic.  The upper count cuts batches (rather one request more
than one refused), the lower one refuses queries (rather let the service decide than refuse what fits).
"""

from __future__ import annotations

FEWEST_BYTES_PER_TOKEN = 3
MOST_BYTES_PER_TOKEN = 8


def utf8_length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def most_tokens(text: str) -> int:
    """An estimate that is hardly ever too low."""
    return utf8_length(text) // FEWEST_BYTES_PER_TOKEN + 1


def least_tokens(text: str) -> int:
    """An estimate that is hardly ever too high."""
    return utf8_length(text) // MOST_BYTES_PER_TOKEN
