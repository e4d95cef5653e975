"""Replies against their forms, and against what pydantic's own models say of them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Annotated, Any, NotRequired, TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rerankkit._parsing import Bound, Form, WholeCount
from rerankkit._wire import BOM


class Part(TypedDict):
    index: int
    score: float
    document: NotRequired[object]


class Usage(TypedDict, total=False):
    units: dict[str, WholeCount | None] | None


class Reply(TypedDict):
    parts: list[Part]
    name: NotRequired[Annotated[str, Bound("max_length", 3)] | None]
    at: NotRequired[Annotated[float, Bound("ge", 0), Bound("le", 9)]]
    usage: NotRequired[Usage | None]


FORM = Form(Reply)


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False, extra="ignore")


class PartModel(Strict):
    index: int
    score: float
    document: object = None


class UsageModel(Strict):
    units: dict[str, Annotated[int, Field(ge=0)] | None] | None = None


class ReplyModel(Strict):
    parts: list[PartModel]
    name: Annotated[str, Field(max_length=3)] | None = None
    at: Annotated[float, Field(ge=0, le=9)] = 0.0
    usage: UsageModel | None = None


def verdict(read: Callable[[bytes], Any], content: bytes) -> str:
    """What is wrong with the reply; nothing if it is right."""
    try:
        read(content)
    except ValidationError as error:
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc'])) or 'the body'}: {first['msg']}"
    except ValueError as error:
        return str(error)
    return ""


WHOLE = {
    "parts": [{"index": 0, "score": 0.5, "document": {"a": [1]}}, {"index": 1, "score": 1}],
    "name": "abc",
    "at": 9,
    "usage": {"units": {"search": 1, "text": None}, "more": True},
    "more": None,
}
ODD = [
    *(
        '"1"',
        "true",
        "null",
        "-1",
        "0",
        "2.0",
        "0.5",
        "9.5",
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "[]",
        "{}",
        '""',
        "[null]",
    ),
    *('"abcd"', '"\\ud800"', "123456789012345678901234567890", '{"a": -1}', "-0.0", ""),
]


def places(value: object) -> int:
    if isinstance(value, dict):
        return 1 + sum(1 + places(inner) for inner in value.values())
    return 1 + sum(map(places, value)) if isinstance(value, list) else 1


def written(value: object, at: int, odd: str) -> str:
    """*value* as JSON, with *odd* instead of the value at that place, or without the member there."""
    count = iter(range(10_000))

    def write(value: object) -> str:
        if next(count) == at:
            return odd
        if isinstance(value, dict):
            return (
                "{" + ",".join(f"{json.dumps(name)}:{write(inner)}" for name, inner in value.items() if next(count) != at) + "}"
            )
        return "[" + ",".join(map(write, value)) + "]" if isinstance(value, list) else json.dumps(value)

    return write(value)


@given(st.integers(0, places(WHOLE) - 1), st.sampled_from(ODD))
def test_a_form_takes_and_refuses_what_a_strict_model_does_in_the_same_words(at: int, odd: str) -> None:
    content = written(WHOLE, at, odd).encode("utf-8", "surrogatepass")
    assert verdict(FORM.parse, content) == verdict(ReplyModel.model_validate_json, content)


@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
def test_of_any_bytes_it_says_what_a_strict_model_says_of_them_without_their_byte_order_mark(content: bytes) -> None:
    assert verdict(FORM.parse, content) == verdict(ReplyModel.model_validate_json, content.removeprefix(BOM))


def test_what_is_right_is_given_back_without_what_the_form_does_not_know() -> None:
    found = FORM.parse(b"\xef\xbb\xbf" + json.dumps(WHOLE).encode())
    expected = {name: value for name, value in WHOLE.items() if name != "more"}
    assert found == {**expected, "usage": {"units": {"search": 1, "text": None}}}
    assert FORM.parse(b'{"parts": []}') == {"parts": []}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"parts": [{"index": 1.0, "score": 1}]}', "parts.0.index: Input should be a valid integer"),
        ('{"parts": [{"index": Infinity, "score": 1}]}', "parts.0.index: Input should be a valid integer"),
        ('{"parts": [{"index": 1, "score": "0.5"}]}', "parts.0.score: Input should be a valid number"),
        ('{"parts": [{"index": 1, "score": NaN}]}', "parts.0.score: Input should be a finite number"),
        ('{"parts": [{"index": 1}]}', "parts.0.score: Field required"),
        ('{"parts": [], "usage": {"units": {"search": -1}}}', "usage.units.search: Input should be greater than or equal to 0"),
        ('{"parts": [], "at": 9.5}', "at: Input should be less than or equal to 9"),
        ('{"parts": [], "name": "abcd"}', "name: String should have at most 3 characters"),
        ("{}", "parts: Field required"),
        ("[]", "the body: Input should be an object"),
    ],
)
def test_a_wrong_reply_is_told_by_its_place_and_not_quoted(content: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$") as caught:
        FORM.parse(content.encode())
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
