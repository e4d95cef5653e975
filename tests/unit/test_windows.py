"""Texts are cut where a reader would: whole, in order, short enough, and never in the middle of a character."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from helpers.properties import any_text, tries
from rerankkit._tokens import most_tokens
from rerankkit.resilience._windows.graphemes import is_cut, is_word
from rerankkit.resilience._windows.windows import first_window, windows


def words(text: str) -> int:
    return len(text.split())


def parts(text: str, most: int, overlap: int, count=words) -> list[str]:
    return [text[start:end] for start, end in windows(text, most, overlap, count)]


LETTERS = [
    "a",
    "b ",
    " ",
    "é",
    "e\u0301",
    "猫",
    "。",
    "の",
    "ไทย",
    "한",
    "\u1112\u1161\u11ab",
    "क्षि",
    "👩‍👩‍👧",
    "👍🏽",
    "🇫🇷",
    "\r\n",
    "\ud800",
]
texts = st.one_of(any_text, st.lists(st.sampled_from(LETTERS), max_size=120).map("".join))
limits = st.integers(2, 40).flatmap(lambda most: st.tuples(st.just(most), st.integers(0, most // 2)))
counts = st.sampled_from([most_tokens, words, len, lambda text: len(text.encode("utf-8", "replace"))])


@tries(150)
@given(texts, limits, counts)
@example("🇫🇷" * 50, (5, 2), most_tokens)
@example("x" * 200, (7, 3), most_tokens)
@example("e" + "\u0301" * 100, (4, 2), most_tokens)
def test_windows_cover_the_text_overlap_and_keep_the_limit(text: str, limit: tuple[int, int], count) -> None:
    most, overlap = limit
    found = windows(text, most, overlap, count)
    assert (found[0][0], found[-1][1]) == (0, len(text)) if text else found == []
    assert found[:1] == ([first_window(text, most, count)] if text else [])
    for start, end in found:
        assert start < end
        assert count(text[start:end]) <= most or end - start == 1
    for (start, end), (following, last) in pairwise(found):
        assert start < following <= end < last
        assert end - following <= (end - start) // 2
        assert following == end or count(text[following:end]) <= overlap


@tries(150)
@given(texts, limits)
def test_no_character_is_cut_that_fits_a_window(text: str, limit: tuple[int, int]) -> None:
    regex = pytest.importorskip("regex", reason="which knows what readers take for a character")
    clusters = list(regex.finditer(r"\X", text))
    if any(most_tokens(cluster.group()) > limit[0] // 2 for cluster in clusters):
        return
    between = {cluster.start() for cluster in clusters} | {len(text)}
    prepended = any(len(cluster.group()) > 1 and cluster.group()[0] in PREPENDED for cluster in clusters)
    if not prepended:
        assert {place for window in windows(text, *limit, most_tokens) for place in window} <= between | {0}


PREPENDED = frozenset(
    map(chr, [*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0xD4E, 0x110BD, 0x110CD, 0x111C2, 0x111C3])
) | frozenset(map(chr, [0x113D1, 0x1193F, 0x11941, 0x11A3A, *range(0x11A84, 0x11A8A), 0x11D46, 0x11F02]))


def test_words_stay_whole_and_neighbours_share_some() -> None:
    assert parts("one two three four five six seven", 4, 1) == ["one two three four ", "four five six seven"]
    assert parts("one two three four five six seven", 4, 0) == ["one two three four ", "five six seven"]
    assert parts("one two three four five six seven", 3, 1) == ["one two three ", "three four five ", "five six seven"]
    assert parts("one two", 2, 1) == ["one two"]


def test_by_the_estimate_three_bytes_are_a_token() -> None:
    text = "abcd efgh ijkl mnop qrst"
    assert parts(text, 5, 0, most_tokens) == ["abcd efgh ", "ijkl mnop qrst"]
    assert parts(text, 4, 0, most_tokens) == ["abcd efgh ", "ijkl mnop ", "qrst"]
    assert parts(text, 4, 2, most_tokens) == ["abcd efgh ", "efgh ijkl ", "ijkl mnop ", "mnop qrst"]


def test_a_text_without_spaces_is_cut_between_characters() -> None:
    assert parts("猫は犬より小さい", 4, 0, most_tokens) == ["猫は犬", "より小", "さい"]
    assert parts("猫は犬より小さい", 4, 2, most_tokens) == ["猫は犬", "犬より", "り小さ", "さい"]
    assert parts("x" * 10, 2, 0, most_tokens) == ["xxxxx", "xxxxx"]


def test_a_window_of_chinese_or_japanese_does_not_begin_with_a_full_stop() -> None:
    assert parts("猫は犬。より小", 4, 0, most_tokens) == ["猫は", "犬。よ", "り小"]


def test_a_word_longer_than_half_a_window_is_cut_rather_than_a_window_left_nearly_empty() -> None:
    found = parts("an " + "x" * 40, 8, 0, most_tokens)
    assert found == ["an " + "x" * 20, "x" * 20]


@pytest.mark.parametrize(
    "character",
    [
        "e\u0301",
        "👩‍👩‍👧",
        "👍🏽",
        "🇫🇷",
        "\r\n",
        "\u1112\u1161\u11ab",
        "क्षि",
        "กำ",
        "\ud83d\ude00",
        "1️⃣",
        "🏴\U000e0067\U000e007f",
    ],
)
def test_what_readers_take_for_one_character_is_not_cut(character: str) -> None:
    assert not any(is_cut(f"a{character}b", at) for at in range(2, len(character) + 1))
    assert is_cut(f"a{character}b", 1)
    assert is_cut(f"a{character}b", len(character) + 1)
    assert {place % len(character) for window in windows(character * 30, 10, 3, len) for place in window} == {0}


def test_a_character_longer_than_a_window_is_cut_all_the_same() -> None:
    assert parts("e" + "\u0301" * 9, 4, 0, most_tokens) == ["e" + "\u0301" * 5, "\u0301" * 4]
    assert parts("猫猫", 1, 0, most_tokens) == ["猫", "猫"]


@pytest.mark.parametrize(("text", "at", "expected"), [("a b", 2, True), ("a b", 1, False), ("ab", 1, False), ("a猫", 1, True)])
def test_where_words_begin(text: str, at: int, *, expected: bool) -> None:
    assert is_word(text, at) is expected


def test_a_tokenizer_that_finds_more_in_a_part_than_in_the_whole_is_held_to_the_limit() -> None:
    def count(text: str) -> int:
        return len(text) if text.endswith(" ") else len(text) // 2

    text = "ab cd ef gh ij kl mn op"
    for start, end in windows(text, 8, 2, count):
        assert count(text[start:end]) <= 8


def test_long_texts_are_looked_at_a_few_windows_at_a_time() -> None:
    text = "word " * 20_000
    seen = 0

    def count(part: str) -> int:
        nonlocal seen
        seen += len(part)
        return most_tokens(part)

    found = windows(text, 512, 64, count)
    assert 60 < len(found) < 90
    assert seen < 40 * len(text)
