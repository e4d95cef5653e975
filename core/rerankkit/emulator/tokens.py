"""Tokens, counted without a tokenizer: four UTF-8 bytes each, a stand-in for those of the services' models."""

from __future__ import annotations

BYTES_PER_TOKEN = 4


def tokens(text: str) -> int:
    """At least 1."""
    return (len(text) if text.isascii() else len(text.encode())) // BYTES_PER_TOKEN + 1


def cut(text: str, most: int | None) -> str:
    """The beginning of *text*, of at most *most* tokens; None does not cut."""
    if most is None or tokens(text) <= most:
        return text
    return text.encode()[: most * BYTES_PER_TOKEN - 1].decode("utf-8", "ignore")


def pieces(text: str, most: int | None) -> list[str]:
    """*text* in pieces of at most *most* tokens, at least 2; None leaves it whole."""
    if most is None or tokens(text) <= most:
        return [text]
    found: list[str] = []
    left = text.encode()
    while left:
        found.append(left[: most * BYTES_PER_TOKEN - 1].decode("utf-8", "ignore"))
        left = left[len(found[-1].encode()) :]
    return found
