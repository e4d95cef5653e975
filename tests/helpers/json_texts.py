"""JSON as text, with what no JSON library would write: a tree of it, and how to damage one."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import strategies as st


class Raw(str):
    """Written as it is."""

    __slots__ = ()


class Members(list):
    """An object's members, in order; a name may come twice."""


class Member(list):
    """A name and its value."""


def tree_of(value: Any) -> Any:
    """*value*, as `json.loads` gives it, in a form whose every part can be replaced."""
    if isinstance(value, dict):
        return Members(Member([name, tree_of(member)]) for name, member in value.items())
    return [tree_of(item) for item in value] if isinstance(value, list) else value


def written(tree: Any) -> str:
    """*tree* as text, which is JSON only if nothing in it is damaged."""
    if isinstance(tree, Raw):
        return tree
    if isinstance(tree, Member):
        return ":".join(map(written, tree))
    if isinstance(tree, list):
        return ("{%s}" if isinstance(tree, Members) else "[%s]") % ",".join(map(written, tree))
    return json.dumps(tree)


ODD_NUMBERS = ["1e999", "-1e999", "1e-999", "-0", "-0.0", "1.0", "1e0", "-1", "9" * 20, "9" * 308, "9" * 309, "9" * 4_300]
ODD_TEXTS = ['"0.5"', '"1"', '""', '"g0"', '"\\ud83d\\ude00"', '"\\u0000"']
OTHERS = ["true", "false", "null", "[]", "{}", "[0.5]", '{"a":1}', "[" * 50 + "]" * 50]
NO_JSON = ["NaN", "Infinity", "-Infinity", "01", "+1", ".5", "0x1", '"\x00"', "'a'", '"', "undefined", "", '{"a":' * 5_000]
NO_MATTER = ["[" * 300 + "]" * 300, '"\\ud800"', "9" * 4_301, "0." + "9" * 5_000]  # JSON that not every reader takes
ODD_VALUES = [Raw(value) for value in (ODD_NUMBERS + ODD_TEXTS + OTHERS) * 3 + NO_JSON + NO_MATTER]
odd_values = st.sampled_from(ODD_VALUES)
names = st.sampled_from(["results", "data", "ResultItems", "index", "score", "Score", "model", "usage", "id", "new"])


@st.composite
def damaged(draw: st.DrawFn, value: Any, most: int = 3) -> str:
    """*value* as JSON text with up to *most* changes: other values, members more or fewer or twice, another order."""
    holder = [tree_of(value)]
    for _ in range(draw(st.integers(0, most))):
        inside, position = draw(st.sampled_from(list(places(holder))))
        change = draw(st.sampled_from([_replace, *_changes(inside[position])]))
        inside[position] = change(draw, copy.deepcopy(inside[position]))
    return written(holder[0])


Change = Callable[[st.DrawFn, Any], Any]


def places(tree: Any) -> Iterator[tuple[list[Any], int]]:
    """Each place where a value stands: the list it is in, and its position there."""
    for position, value in enumerate(tree if isinstance(tree, list) else ()):
        if not isinstance(tree, Members) and not (isinstance(tree, Member) and position == 0):
            yield tree, position
        yield from places(value)


def _changes(value: Any) -> list[Change]:
    """What else can be done with *value* than to put another in its place."""
    if isinstance(value, list):
        renaming = [_with_one_renamed] if isinstance(value, Members) else []
        return [_with_another, _reordered, *([_with_one_less, _with_one_twice, *renaming] if value else [])]
    return [_moved] if isinstance(value, int | float) else []


def _replace(draw: st.DrawFn, value: Any) -> Any:
    return draw(odd_values)


def _moved(draw: st.DrawFn, value: float) -> float:
    return value + draw(st.sampled_from([-1, 1, 0.5, 25]))


def _with_another(draw: st.DrawFn, value: list[Any]) -> list[Any]:
    value.insert(0, Member([draw(names), draw(odd_values)]) if isinstance(value, Members) else draw(odd_values))
    return value


def _reordered(draw: st.DrawFn, value: list[Any]) -> list[Any]:
    return type(value)(draw(st.permutations(value)))


def _with_one_less(draw: st.DrawFn, value: list[Any]) -> list[Any]:
    del value[draw(st.integers(0, len(value) - 1))]
    return value


def _with_one_twice(draw: st.DrawFn, value: list[Any]) -> list[Any]:
    value.append(copy.deepcopy(draw(st.sampled_from(value))))
    return value


def _with_one_renamed(draw: st.DrawFn, value: Members) -> Members:
    draw(st.sampled_from(value))[0] = draw(names)
    return value
