"""tests/typing: what a user writes, for both type checkers, leaves out no public name of the adapters."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import langchain_rerankkit
import llamaindex_rerankkit
from llamaindex_rerankkit import events

TYPING = Path(__file__).parents[1] / "typing"
OURS = ("langchain_rerankkit", "llamaindex_rerankkit", "rerankkit")
INTERNAL = {
    "candidates",
    "kept",
    "tells_spans",
    "share_connections",
    "further_names",
    "ways_out",
    "model_config",
    "model_post_init",
}
"""Without an underscore, as classes of one another need them, and for nobody else."""


def used(file: str) -> set[str]:
    """Each name that a file says anywhere: imported, passed by, looked up, or of a dictionary's key."""
    return {name for node in ast.walk(ast.parse((TYPING / file).read_text("utf-8"))) for name in _names(node)}


def _names(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.alias(name=name) | ast.Attribute(attr=name) | ast.keyword(arg=str(name)):
            yield name
        case ast.Dict(keys=keys):
            yield from (str(key.value) for key in keys if isinstance(key, ast.Constant))
        case _:
            pass


def passed(file: str) -> set[tuple[str, str]]:
    """The options with which classes are made somewhere in a file: class and option."""
    calls = [node for node in ast.walk(ast.parse((TYPING / file).read_text("utf-8"))) if isinstance(node, ast.Call)]
    return {
        (call.func.id, keyword.arg)
        for call in calls
        if isinstance(call.func, ast.Name)
        for keyword in call.keywords
        if keyword.arg
    }


def options(made: type[Any]) -> set[str]:
    """What a class of ours takes beside what its framework's does, under each of its names."""
    fields = public(made) & set(getattr(made, "model_fields", {}))
    return fields | set(getattr(made, "further_names", {}))


def of_the_same(made: type[Any], option: str) -> set[str]:
    """The classes that have an option from where *made* has it."""
    definer = next((base for base in made.__mro__ if option in vars(base).get("__annotations__", {})), made)
    return {other.__name__ for _, other in CLASSES if issubclass(other, definer)}


def public(made: type[Any]) -> set[str]:
    """What a class of ours adds to those of its framework: fields, methods, properties, other names."""
    own = [base for base in made.__mro__ if base.__module__.partition(".")[0] in OURS]
    names = {name for base in own for name in (*vars(base), *vars(base).get("__annotations__", {}))}
    names |= set(getattr(made, "further_names", {}))
    return {name for name in names if not name.startswith("_")} - INTERNAL - _hooks(made)


def _hooks(made: type[Any]) -> set[str]:
    """What pydantic finds by its decorators."""
    if not issubclass(made, BaseModel):
        return set()
    found = made.__pydantic_decorators__
    kinds = (found.model_validators, found.field_validators, found.field_serializers, found.model_serializers)
    return {name for kind in kinds for name in kind}


CLASSES = [
    *(("langchain_consumer.py", getattr(langchain_rerankkit, name)) for name in langchain_rerankkit.__all__),
    *(("llamaindex_consumer.py", getattr(llamaindex_rerankkit, name)) for name in llamaindex_rerankkit.__all__),
    *(
        ("llamaindex_consumer.py", made)
        for _, made in inspect.getmembers(events, inspect.isclass)
        if made.__module__ == events.__name__
    ),
]


named = pytest.mark.parametrize(
    ("file", "made"), CLASSES, ids=lambda value: value.partition("_")[0] if isinstance(value, str) else value.__name__
)


@named
def test_each_public_name_is_used(file: str, made: type[Any]) -> None:
    assert {made.__name__, *public(made)} - used(file) == set()


@named
def test_each_option_is_passed_to_a_class_that_has_it(file: str, made: type[Any]) -> None:
    given = passed(file)
    missing = [option for option in options(made) if not given & {(name, option) for name in of_the_same(made, option)}]
    assert sorted(missing) == []


def test_a_name_that_is_not_used_is_noticed() -> None:
    class Further(langchain_rerankkit.CohereRerank):
        a_new_field: int = 0

        def a_new_method(self) -> None:
            """Does nothing."""

    Further.__module__ = "langchain_rerankkit.cohere"
    assert public(Further) - used("langchain_consumer.py") >= {"a_new_field", "a_new_method"}
    assert "a_new_field" in options(Further)
    assert of_the_same(Further, "priority") == {"CohereRerank"}
    assert of_the_same(Further, "top_n") >= {"CohereRerank", "RerankPostprocessor"}
    assert ("CohereRerank", "a_new_field") not in passed("langchain_consumer.py")
