"""Reply bytes are validated strictly: no text is taken for a number, no NaN for a score.

By the core of pydantic alone, whose models would take as long to import as an HTTP library.
"""

from __future__ import annotations

from types import UnionType
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NotRequired,
    TypeAlias,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from pydantic_core import SchemaValidator, ValidationError, core_schema

from rerankkit._forking import UNDIVIDED
from rerankkit._wire import BOM


class Bound(NamedTuple):
    """What a value must keep, beside being of its type."""

    name: Literal["ge", "le", "max_length"]
    value: float


Count: TypeAlias = Annotated[float, Bound("ge", 0)]
"""Units that a call consumed."""

WholeCount: TypeAlias = Annotated[int, Bound("ge", 0)]
"""The same, where there are no halves."""

A = TypeVar("A")

STRICT = core_schema.CoreConfig(strict=True, allow_inf_nan=False)


class Form(Generic[A]):
    """What a service answers, as a TypedDict says it; members that are not described there are ignored."""

    def __init__(self, described: type[A]) -> None:
        self._validator = SchemaValidator(_schema(described))

    def parse(self, content: bytes) -> A:
        """*content*, which has this form.

        Raises:
            ValueError: It has not; the text says where, without quoting the answer.
        """
        try:
            with UNDIVIDED:  # the parser has a lock of its own, which a forked child would wait for
                return cast("A", self._validator.validate_json(content.removeprefix(BOM)))
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"])) or "the body"
        raise ValueError(f"{place}: {first['msg']}")  # outside, so that nothing leads back to the error, which quotes


_PLAIN: dict[Any, core_schema.CoreSchema] = {
    object: core_schema.any_schema(),
    str: core_schema.str_schema(),
    int: core_schema.int_schema(),
    float: core_schema.float_schema(),
}


def _schema(described: Any) -> core_schema.CoreSchema:  # noqa: ANN401 -- what stands in an annotation has no type
    """Of the kinds of values that forms are made of: those of `_PLAIN`, Annotated, ``X | None``, list, dict, TypedDict."""
    origin, parts = get_origin(described), get_args(described)
    if origin is Annotated:
        return cast("core_schema.CoreSchema", {**_schema(parts[0]), **dict(parts[1:])})
    if origin in (Union, UnionType):
        return core_schema.nullable_schema(_schema(parts[0]))
    if origin is list:
        return core_schema.list_schema(_schema(parts[0]))
    if origin is dict:
        return core_schema.dict_schema(*map(_schema, parts))
    return _PLAIN[described] if described in _PLAIN else core_schema.typed_dict_schema(_members(described), config=STRICT)


def _members(described: Any) -> dict[str, core_schema.TypedDictField]:  # noqa: ANN401 -- as above
    hints = get_type_hints(described, include_extras=True)
    return {name: _member(hint, required=described.__total__) for name, hint in hints.items()}


def _member(hint: Any, *, required: bool) -> core_schema.TypedDictField:  # noqa: ANN401 -- as above
    if get_origin(hint) is NotRequired:
        (hint,), required = get_args(hint), False
    return core_schema.typed_dict_field(_schema(hint), required=required)
