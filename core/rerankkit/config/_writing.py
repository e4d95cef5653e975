"""From rerankers to data: what they were made of, in JSON's types, without keys and without None."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from enum import Enum
from inspect import Parameter
from typing import Any, cast

from rerankkit import providers
from rerankkit._described import Described, parameters
from rerankkit.client import Client
from rerankkit.config._kinds import (
    CLIENT,
    NONE,
    TYPE,
    Place,
    choices,
    classes,
    element,
    hints,
    kinds,
    name_of,
    takes_none,
    values,
)
from rerankkit.config._secrets import holds_password
from rerankkit.errors import RerankError
from rerankkit.provider import Provider
from rerankkit.reranker import Reranker


def write_reranker(reranker: object, place: Place) -> dict[str, object]:
    """The table that describes *reranker*."""
    if type(reranker) is Client:
        return _client(reranker, place)
    if not isinstance(reranker, Described) or kinds().get(name_of(type(reranker))) is not type(reranker):
        what = type(reranker).__name__
        raise place.error(f"{what} cannot be written down: a description holds clients and rerankkit's own wrappers")
    return {TYPE: name_of(type(reranker)), **_written(type(reranker), reranker.arguments(), place)}


def _client(client: Client, place: Place) -> dict[str, object]:
    provider, arguments = client.provider, dict(client.arguments())
    arguments.pop("provider")
    options = _written(type(provider), provider.arguments(), place)
    return {TYPE: CLIENT, "service": _service(provider, place), **options, **_written(Client, arguments, place)}


def _service(provider: Provider, place: Place) -> str:
    """The name under which *provider* is registered."""
    if provider.name not in providers.REGISTRY or providers.load(provider.name) is not type(provider):
        what = f"a provider of your own ({type(provider).__name__})"
        raise place.error(f"{what} cannot be written down: a description holds {', '.join(providers.REGISTRY)}")
    return provider.name


def _written(kind: type, arguments: Mapping[str, object], place: Place) -> dict[str, object]:
    """Arguments of *kind*, by name; a None that says nothing is left out."""
    return {
        name: _value(value, _hint(kind, name), place.at(name))
        for name, value in arguments.items()
        if value is not None or parameters(kind)[name].default is not None
    }


def _hint(kind: type, name: str) -> object:
    """The type of an argument; of several, that of them all."""
    hint = hints(kind).get(name, object)
    return tuple[hint, ...] if parameters(kind)[name].kind is Parameter.VAR_POSITIONAL else hint  # type: ignore[valid-type]  # a value, not a declaration


def _value(value: object, hint: object, place: Place) -> object:
    if value is None:
        return _none(hint, place)
    if isinstance(value, list | tuple | AbstractSet):
        items = _ordered(cast("Collection[object]", value))
        return [_value(each, element(hint, index), place.at(index)) for index, each in enumerate(items)]
    if isinstance(value, Mapping):
        return dict(_pairs(cast("Mapping[object, object]", value), values(hint), place))
    plain = _word(value)
    return _table(value, hint, place) if plain is None else _scalar(plain, place)


def _ordered(items: Collection[object]) -> Collection[object]:
    """A list's elements as they stand, a set's as they are spelt."""
    return sorted(items, key=repr) if isinstance(items, AbstractSet) else items


def _word(value: object) -> bool | float | str | None:
    """The text or number that stands for *value*, if one does."""
    if isinstance(value, Enum):
        return _word(value.value)
    if isinstance(value, type):
        return value.__name__ if issubclass(value, RerankError) else None
    if isinstance(value, os.PathLike):
        return str(os.fspath(cast("os.PathLike[str]", value)))
    return value if isinstance(value, bool | int | float | str) else None


def _none(hint: object, place: Place) -> str:
    """The word for None, where a text would be none of the argument's own."""
    if not takes_none(hint) or str in choices(hint):
        raise place.error("None cannot be written down here")
    return NONE


def _scalar(value: bool | float | str, place: Place) -> bool | float | str:  # noqa: FBT001 -- one of several kinds
    """*value* as one of JSON's own types, which subclasses of libraries are not."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        if holds_password(value):
            raise place.error("an address with a password is not written down: leave the password to the environment")
        return str(value)
    if isinstance(value, int):
        return int(value)
    if not math.isfinite(value):
        raise place.error(f"{value!r} cannot be written down: it is no finite number")
    return float(value)


def _pairs(table: Mapping[object, object], hint: object, place: Place) -> Iterator[tuple[str, object]]:
    for key, value in table.items():
        if not isinstance(key, str):
            raise place.error(f"the key {key!r} cannot be written down: it is no text")
        yield key, _value(value, hint, place.at(key))


def _table(value: object, hint: object, place: Place) -> dict[str, object]:
    """The table of an object: with its type, unless no other is possible there."""
    kind = type(value)
    if isinstance(value, Reranker):
        return write_reranker(value, place)
    name = name_of(kind)
    if kinds().get(name) is kind:
        return {TYPE: name, **_written(kind, _arguments(value), place)}
    if is_dataclass(kind) and classes(hint) == [kind]:
        return _written(kind, _arguments(value), place)
    what = "a function" if callable(value) else kind.__name__
    raise place.error(f"{what} cannot be written down: a description holds data alone")


def _arguments(value: object) -> Mapping[str, object]:
    """What *value* was made of; of a dataclass, what is not as it would be anyway."""
    if isinstance(value, Described):
        return value.arguments()
    defaults = {name: parameter.default for name, parameter in parameters(type(value)).items()}
    found = {field.name: getattr(value, field.name) for field in fields(cast("Any", value)) if field.init}
    return {name: each for name, each in found.items() if each != defaults[name]}
