"""Objects that remember what they were made of, so that they can be copied, pickled and written down."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cache
from inspect import Parameter
from typing import Any, Self, cast

SECRET = frozenset({"api_key", "aws_access_key_id", "aws_secret_access_key", "aws_session_token", "password"})
"""Arguments that nothing remembers."""


class Described:
    """An object that knows the arguments it was made with, those apart that are secret."""

    _given: Mapping[str, object]

    def __new__(cls, *args: Any, **options: Any) -> Self:  # noqa: ANN401 -- whatever the class's own `__init__` takes
        made = super().__new__(cls)
        with suppress(TypeError):  # the class's own `__init__` will say it in better words
            signature = _signature(cls)  # type: ignore[arg-type]  # classes are hashable
            given = signature.bind_partial(*args, **options).arguments
            made._given = {name: value for name, value in given.items() if name not in SECRET}
        return made

    def arguments(self) -> Mapping[str, object]:
        """What it was made with, by name; what was left out is not there, nor is any secret."""
        return getattr(self, "_given", {})


@cache
def _signature(of: Callable[..., object]) -> inspect.Signature:
    """That of a class's `__init__`, without ``self``."""
    return inspect.signature(of)


def parameters(of: type) -> Mapping[str, Parameter]:
    """What it is made of, by name."""
    return _signature(of).parameters


def remade(of: type, arguments: Mapping[str, object]) -> Any:  # noqa: ANN401 -- an object of that class
    """Another one of the same arguments."""
    names = list(parameters(of))
    several = next((name for name in names if parameters(of)[name].kind is Parameter.VAR_POSITIONAL), None)
    before = names[: names.index(several)] if several else []
    positional = [arguments[name] for name in before if name in arguments]
    options = {name: value for name, value in arguments.items() if name not in (*before, several)}
    return of(*positional, *cast("Iterable[object]", arguments.get(several or "", ())), **options)
