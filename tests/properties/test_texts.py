"""Texts are mended and cut only where they have to be, and what goes out can be encoded."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from helpers.properties import any_text, planned, tries
from helpers.services import KENDRA
from rerankkit import Document, InvalidRequestError
from rerankkit._rendering import to_yaml
from rerankkit._tokens import least_tokens, most_tokens
from rerankkit._wire import encode, mended
from rerankkit.providers.kendra import MAX_BODY_UNITS, MAX_TITLE_UNITS, REFUSED, printable, shortened, utf16_units

PAIR = re.compile("([\ud800-\udbff])([\udc00-\udfff])")
HALF = re.compile("[\ud800-\udfff]")
halves = st.text("\ud83d\ude00\udfff\ud800ab \ufeff\N{GRINNING FACE}", max_size=12)
texts = any_text | halves
controls = st.text(
    "ab \t\n\x00\x1f\x7f\x85\u00a0\u00ad\u200b\u2028\u2029\ufeff\ue000\ud800\U000e0001\N{GRINNING FACE}", max_size=30
)


def by_hand(text: str) -> str:
    """Two halves that belong together are a character, and any other half is U+FFFD."""
    joined = PAIR.sub(lambda pair: chr(0x10000 + (ord(pair[1]) - 0xD800) * 0x400 + ord(pair[2]) - 0xDC00), text)
    return HALF.sub("\ufffd", joined)


@given(text=texts)
@example("\ud83d\ude00")
@example("\ufeff\ud800")
@tries(300)
def test_mending_replaces_halves_of_characters_and_nothing_else(text: str) -> None:
    assert mended(text) == by_hand(text)
    assert mended(mended(text)) == mended(text)
    assert mended(text).encode().decode() == mended(text)
    assert mended(text) == text or HALF.search(text)


leaves = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | texts
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
trees = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4), max_leaves=12
)


def texts_in(tree: Any) -> Iterator[str]:
    """All texts of a payload; names are whole in these tests."""
    if isinstance(tree, str):
        yield tree
    for inner in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from texts_in(inner)


def repaired(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {name: repaired(value) for name, value in tree.items()}
    return [repaired(value) for value in tree] if isinstance(tree, list) else by_hand(tree) if isinstance(tree, str) else tree


@given(payload=st.dictionaries(names, trees, max_size=4))
@tries(250)
def test_a_payload_is_encoded_as_it_is_but_for_halves_of_characters_which_are_counted(payload: dict[str, Any]) -> None:
    content, warnings = encode(payload)
    assert json.loads(content.decode()) == repaired(payload)
    broken = sum(by_hand(text) != text for text in texts_in(payload) if HALF.search(text))
    assert warnings == ((f"texts with lone surrogates, which were sent as U+FFFD: {broken}",) if broken else ())


class NoJson:
    """Of a kind that JSON does not know."""


@given(payload=trees, bad=st.sampled_from([NoJson(), 2**64, -(2**63) - 1, {1: "a number for a name"}, b"bytes", {"a", "b"}]))
@tries(100)
def test_what_has_no_json_form_is_the_callers_error(payload: Any, bad: object) -> None:
    with pytest.raises(InvalidRequestError, match="has no JSON form"):
        encode({"documents": [payload, {"field": bad}]})


# Kendra


@given(text=controls | any_text)
@tries(300)
def test_what_kendra_is_sent_holds_no_character_that_it_refuses(text: str) -> None:
    clean = printable(text)
    refused = {char for char in text if unicodedata.category(char) in REFUSED}
    assert refused.isdisjoint(clean)
    assert encode({"Body": clean})
    assert printable(clean) == clean
    assert clean == text or ("  " not in clean and clean == clean.strip()), "a run becomes one space, and none at an end"
    assert clean.split() == "".join(" " if char in refused else char for char in text).split()


@given(text=st.text("ab \u00a0\u3042\N{GRINNING FACE}", max_size=60), most=st.integers(2, 40))
@tries(300)
def test_a_text_is_cut_at_a_words_end_and_only_if_it_is_too_long(text: str, most: int) -> None:
    short = shortened(text, most)
    assert utf16_units(short) <= most
    assert text.startswith(short)
    assert shortened(short, most) == short
    assert (short == text) == (utf16_units(text) <= most)
    rest = text[len(short) :]
    assert not rest or rest[0].isspace() or " " not in short.strip(), "a word that is longer than all is cut in itself"


@given(text=texts)
@tries(200)
def test_utf16_units_are_those_of_the_encoding(text: str) -> None:
    assert utf16_units(text) == sum(2 if ord(char) > 0xFFFF else 1 for char in text)


@given(
    title=controls | st.integers(1_000, 1_100).map("t".__mul__),
    body=controls | any_text | st.integers(2_000, 2_100).map("\N{GRINNING FACE} ".__mul__),
)
@tries(200)
def test_any_document_is_sent_to_kendra_within_its_limits_or_not_at_all(title: str, body: str) -> None:
    """And a warning says so wherever it is not the caller's text that was sent."""
    prepared, batches = planned(KENDRA.make("https://gateway.test"), [Document(body, title=title)])
    for entry in (entry for batch in batches for entry in batch.documents):
        assert 0 < utf16_units(entry.get("Title", "x")) <= MAX_TITLE_UNITS
        assert 0 < utf16_units(entry.get("Body", "x")) <= MAX_BODY_UNITS
        changed = any(entry.get(name, "") != text for name, text in (("Title", title), ("Body", body)) if text.strip())
        assert bool(prepared.warnings) == changed
        assert encode(entry)


# Others


@given(fields=st.dictionaries(names.filter(str.isidentifier), texts, min_size=1, max_size=4))
@tries(200)
def test_structured_documents_have_a_yaml_form_that_can_be_sent_and_read(fields: dict[str, str]) -> None:
    import yaml

    written = to_yaml(0, fields)
    assert written.encode()
    assert list(yaml.safe_load(written)) == list(fields) or any(name.lower() in RESERVED for name in fields)


RESERVED = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}


@given(text=texts)
@tries(200)
def test_token_bounds_are_in_order(text: str) -> None:
    assert 0 <= least_tokens(text) <= most_tokens(text)
    assert most_tokens(text) <= most_tokens(text + "x")
