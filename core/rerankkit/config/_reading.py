"""From data to rerankers.  Whatever the data is, it is made into one, or an `InvalidRequestError` says where it is wrong."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import Enum
from inspect import Parameter
from types import NoneType
from typing import Any, cast

from rerankkit import errors, providers
from rerankkit._checks import shown
from rerankkit._connect import connect
from rerankkit._described import SECRET, parameters, remade
from rerankkit.config._kinds import (
    CLIENT,
    NONE,
    TYPE,
    Place,
    choices,
    classes,
    element,
    elements,
    guess,
    hints,
    is_plain,
    is_ranking,
    kinds,
    takes_errors,
    takes_none,
    takes_rerankers,
    values,
)
from rerankkit.errors import InvalidRequestError, RerankError
from rerankkit.provider import Provider
from rerankkit.reranker import BaseReranker
from rerankkit.resilience.stores import Store

ANY_RERANKER = "a target such as 'cohere:rerank-v3.5', or a table with a 'type'"
SCALARS = (str, bool, int, float)
FILES = (".toml", ".yaml", ".yml", ".json")


def read_reranker(value: object, place: Place) -> BaseReranker:
    """The reranker that *value* describes."""
    if isinstance(value, str):
        return _named(value, place)
    if not isinstance(value, Mapping):
        raise _wrong(place, ANY_RERANKER, value)
    table = _keyed(cast("Mapping[object, object]", value), place)
    kind = _kind(table, place)
    if not is_ranking(kind):
        raise place.at(TYPE).error(f"{table[TYPE]!r} is no reranker: {_known(kinds(), rerankers=True)} are")
    return cast("BaseReranker", _made_by_type(kind, table, place))


def _named(name: str, place: Place) -> BaseReranker:
    """A reranker that needs nothing but its name, or what `connect` makes of it."""
    kind = kinds().get(name)
    if kind is not None and is_ranking(kind):
        return cast("BaseReranker", _made_by_type(kind, {TYPE: name}, place))
    if name.endswith(FILES):
        raise place.error(f"{shown(name)} is the name of a file: load_config(...) reads the description in it")
    try:
        return connect(name)
    except InvalidRequestError as error:
        raise place.told(error, ()) from error


def _kind(table: Mapping[str, object], place: Place) -> type[Any]:
    """The class that a table's type names."""
    known = kinds()
    if TYPE not in table:
        hint = f"{CLIENT!r} goes with a 'service'; there are " if "service" in table else ""
        raise place.error(f"a {TYPE!r} is missing: {hint}{_known(known)}")
    name = table[TYPE]
    if not isinstance(name, str) or name not in known:
        hint = _meant(name, known) if isinstance(name, str) else ""
        raise place.at(TYPE).error(f"{_told(name)} is not known: {hint}there are {_known(known)}")
    return known[name]


def _meant(name: str, known: Mapping[str, type[Any]]) -> str:
    """What a type that there is not may have been meant to be."""
    if name in providers.REGISTRY:
        return f"{name!r} is a 'service' of the type {CLIENT!r}; "
    return guess(name, known)


def _known(known: Mapping[str, type[Any]], *, rerankers: bool = False) -> str:
    return ", ".join(repr(name) for name, kind in known.items() if not rerankers or is_ranking(kind))


def _made_by_type(kind: type[Any], table: Mapping[str, object], place: Place) -> object:
    given = {key: value for key, value in table.items() if key != TYPE}
    return _client(kind, given, place) if table[TYPE] == CLIENT else _made(kind, given, place)


def _client(kind: type[Any], given: Mapping[str, object], place: Place) -> object:
    """A client, whose options and its provider's stand in one table."""
    service = _service(given, place)
    own = {name: parameter for name, parameter in parameters(kind).items() if name != "provider"}
    of_provider = parameters(service)
    options = {key: value for key, value in given.items() if key != "service"}
    _check_keys(options, {**of_provider, **own}, place)
    told = {key: value for key, value in options.items() if key in of_provider}
    provider = _made(service, told, place)
    return _called(kind, {"provider": provider, **_arguments(kind, own, options, place)}, place)


def _service(given: Mapping[str, object], place: Place) -> type[Provider]:
    if "service" not in given:
        raise place.error(f"a 'service' is missing: one of {', '.join(map(repr, providers.REGISTRY))}")
    name = given["service"]
    if not isinstance(name, str) or name not in providers.REGISTRY:
        hint = guess(name, providers.REGISTRY) if isinstance(name, str) else ""
        raise place.at("service").error(
            f"{_told(name)} is not known: {hint}there are {', '.join(map(repr, providers.REGISTRY))}"
        )
    return providers.load(name)


def _made(kind: type[Any], given: Mapping[str, object], place: Place) -> object:
    """An object of that class, of what its table gives."""
    known = parameters(kind)
    _check_keys(given, known, place)
    return _called(kind, _arguments(kind, known, given, place), place)


def _arguments(
    kind: type[Any], known: Mapping[str, Parameter], given: Mapping[str, object], place: Place
) -> Mapping[str, object]:
    """Those of *known* that are given; a None that says nothing is not."""
    told = [name for name in known if name in given and not (given[name] is None and known[name].default is None)]
    return {name: _argument(known[name], hints(kind), given[name], place) for name in told}


def _called(kind: type[Any], arguments: Mapping[str, object], place: Place) -> object:
    try:
        return remade(kind, arguments)
    except (InvalidRequestError, TypeError, ValueError, ArithmeticError) as error:
        raise place.told(error, arguments) from error


def _check_keys(given: Collection[str], known: Mapping[str, Parameter], place: Place) -> None:
    for key in given:
        if key not in known:
            names = [name for name in known if name not in SECRET]
            raise place.at(key).error(f"is not known: {guess(key, names)}there are {', '.join(map(repr, names)) or 'none'}")
    for name, parameter in known.items():
        if parameter.default is Parameter.empty and parameter.kind is not Parameter.VAR_POSITIONAL and name not in given:
            raise place.error(f"{name!r} is missing")


def _argument(parameter: Parameter, hint_of: Mapping[str, object], value: object, place: Place) -> object:
    """One argument, of what stands under its name."""
    here, hint = place.at(parameter.name), hint_of.get(parameter.name, object)
    if parameter.kind is not Parameter.VAR_POSITIONAL:
        return _value(value, hint, here)
    if not isinstance(value, list | tuple):
        raise _wrong(here, "a list", value)
    return tuple(_value(each, hint, here.at(index)) for index, each in enumerate(cast("Sequence[object]", value)))


def _value(value: object, hint: object, place: Place) -> object:
    """What *value* stands for where *hint* is the type."""
    if takes_rerankers(hint) and value is not None and elements(hint) is None:
        return read_reranker(value, place)
    if isinstance(value, str):
        return _text(value, hint, place)
    if isinstance(value, Mapping):
        return _table(_keyed(cast("Mapping[object, object]", value), place), hint, place)
    if isinstance(value, list | tuple):
        items = cast("Sequence[object]", value)
        found = [_value(each, element(hint, index), place.at(index)) for index, each in enumerate(items)]
        return found if elements(hint) is None else tuple(found)
    if value is not None and not isinstance(value, SCALARS):
        raise _wrong(place, "a text, a number, true or false, a list, or a table", value)
    return _scalar(value, hint, place)


def _text(value: str, hint: object, place: Place) -> object:
    """What a text stands for: an error class, a store that needs nothing, a member of an enumeration, nothing, or itself."""
    if takes_errors(hint):
        return _error_class(value, place)
    if Store in choices(hint):
        return _made_by_type(_kind({TYPE: value}, place), {TYPE: value}, place)
    for choice in choices(hint):
        if isinstance(choice, type) and issubclass(choice, Enum) and value in [member.value for member in choice]:
            return choice(value)
    return None if value == NONE and takes_none(hint) and str not in choices(hint) else _scalar(value, hint, place)


def _scalar(value: object, hint: object, place: Place) -> object:
    """*value*, unless only a table can say what is needed; whether it is right otherwise, knows who takes it."""
    if value is not None and classes(hint) and {*choices(hint)} <= {NoneType, *classes(hint)}:
        raise _wrong(place, "a table", value)
    return value


def _error_class(name: str, place: Place) -> type[RerankError]:
    found = getattr(errors, name, None)
    if isinstance(found, type) and issubclass(found, RerankError):
        return found
    known = [name for name, each in vars(errors).items() if isinstance(each, type) and issubclass(each, RerankError)]
    raise place.error(f"{name!r} is no error: {guess(name, known)}there are {', '.join(known)}")


def _table(table: Mapping[str, object], hint: object, place: Place) -> object:
    """What a table stands for: an object of the class that it names, or that alone is possible; or a table."""
    of_values, possible = values(hint), classes(hint)
    if of_values is not None and (TYPE not in table or not possible):
        return {key: _value(each, of_values, place.at(key)) for key, each in table.items()}
    if TYPE not in table and len(possible) == 1:
        return _made(possible[0], table, place)
    if is_plain(hint):
        raise place.error("must not be a table")
    return _made_by_type(_kind(table, place), table, place)


def _keyed(table: Mapping[object, object], place: Place) -> Mapping[str, object]:
    """*table*, if its keys are texts."""
    for key in table:
        if not isinstance(key, str):
            hint = ": YAML takes on, off, yes and no for truth values, write it in quotes" if isinstance(key, bool) else ""
            raise place.error(f"the key {_told(key)} is no text{hint}")
    return cast("Mapping[str, object]", table)


def _wrong(place: Place, expected: str, value: object) -> InvalidRequestError:
    return place.error(f"must be {expected}, got {_told(value)}")


def _told(value: object) -> str:
    """*value* in short; what lists and tables hold may be anything, also a key."""
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list | tuple):
        return "a list"
    return shown(value)[:100] if value is None or isinstance(value, SCALARS) else f"an object of type {type(value).__name__}"
