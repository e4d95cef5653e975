"""The texts that are ranked, and the scores they are to get: the service and the check of its replies know the same."""

from __future__ import annotations

import functools
import random
import zlib
from collections.abc import Sequence

WORDS = """
the ferry leaves from old harbour at nine and five every day but first of January tickets are sold on board children
under twelve travel free bicycles cost extra when weather is bad crossing takes longer islands have one inn open
"""
FOREIGN = "the café – the ferry’s – "  # one text in five has what is neither ASCII nor Latin-1
STOCK = 1 << 17  # characters from which texts are cut
STEP = 977  # a prime: texts begin at different places


@functools.cache
def _stock() -> str:
    draw, words = random.Random(7), WORDS.split()
    sentences: list[str] = []
    length = 0
    while length < STOCK:
        chosen = draw.choices(words, k=draw.randint(5, 17))
        sentence = " ".join(chosen).capitalize() + draw.choice((". ", "? ", ".\n", '." '))  # with what JSON has to escape
        sentences.append(sentence)
        length += len(sentence)
    return "".join(sentences) * 2


@functools.lru_cache(maxsize=8)
def texts(count: int, size: int) -> Sequence[str]:
    """*count* different texts of *size* characters; the same ones each time."""
    stock = _stock()
    return [_text(stock, number, size) for number in range(count)]


def _text(stock: str, number: int, size: int) -> str:
    head = f"{number:06} {FOREIGN if number % 5 == 0 else ''}"
    place = number * STEP % STOCK
    return (head + stock[place : place + size])[:size]


def query(number: int) -> str:
    return f"When does ferry number {number} leave the old harbour?"


def score(asked: str, text: str) -> float:
    """Between 0 and 1, different for nearly all pairs, and of the pair alone: batches can be checked as well."""
    return zlib.crc32(text.encode(), zlib.crc32(asked.encode())) / 2**32


@functools.lru_cache(maxsize=1024)
def best(asked: str, count: int, size: int, top_n: int) -> Sequence[tuple[int, float]]:
    """What is right: indices and scores, best first."""
    scores = [score(asked, text) for text in texts(count, size)]
    order = sorted(range(count), key=lambda index: -scores[index])
    return [(index, scores[index]) for index in order[:top_n]]
