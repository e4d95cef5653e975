"""The names by which users of other rerankers know an option, as further names of ours.

A type checker sees fields, so that it accepts them in constructors; there are none, but another way to read ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

from pydantic import BaseModel, model_validator
from typing_extensions import override

from rerankkit.errors import InvalidRequestError


class Names(BaseModel):
    """Fields under further names."""

    further_names: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _know_further_names(cls, given: object) -> object:
        if not isinstance(given, dict):
            return given
        options = cast("dict[str, Any]", given)
        for name in options.keys() & cls.further_names.keys():
            if cls.further_names[name] in options:
                raise InvalidRequestError(f"{name} is another name of {cls.further_names[name]}: pass one of them")
        return cls._renamed(options)

    @override
    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Pydantic's, which knows these names too."""
        return super().model_copy(update=self._renamed(update or {}), deep=deep)

    @classmethod
    def _renamed(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        return {cls.further_names.get(name, name): value for name, value in options.items()}

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            known = type(self).further_names.get(name)
            return getattr(self, known) if known else super().__getattr__(name)

        def __setattr__(self, name: str, value: object) -> None:
            super().__setattr__(type(self).further_names.get(name, name), value)
