"""A postprocessor over Voyage AI / MongoDB, with the service's options as fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, cast

from pydantic import model_validator
from typing_extensions import override

from llamaindex_rerankkit.postprocessor import BaseRerankPostprocessor
from rerankkit.errors import InvalidRequestError
from rerankkit.settings.voyage import VoyageSettings


class VoyageRerank(VoyageSettings, BaseRerankPostprocessor):
    """Reranks with Voyage AI / MongoDB: ``VoyageRerank(model="rerank-2.5", top_n=3)``; key from VOYAGE_API_KEY.

    Attributes:
        top_k: Another name of `top_n`, for those who come from VoyageAIRerank.
    """

    if TYPE_CHECKING:
        top_k: int | None = None
    else:

        @property
        def top_k(self) -> int | None:
            return self.top_n

        @top_k.setter
        def top_k(self, top_k: int | None) -> None:
            self.top_n = top_k

    @override
    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Pydantic's, which knows `top_k` too."""
        given = dict(update or {})
        return super().model_copy(update=_renamed(given, "top_k", "top_n") if "top_k" in given else given, deep=deep)

    @model_validator(mode="before")
    @classmethod
    def _call_it_top_n(cls, given: object) -> object:
        if "top_k" in _options(given):
            return _renamed(_options(given), "top_k", "top_n")
        return given


def _options(given: object) -> dict[str, object]:
    """What a class is made of, if it is not made of another object."""
    return cast("dict[str, object]", given) if isinstance(given, dict) else {}


def _renamed(given: Mapping[str, object], old: str, new: str) -> dict[str, object]:
    if new in given:
        raise InvalidRequestError(f"{old} is another name of {new}: pass one of them")
    return {(new if name == old else name): value for name, value in given.items()}
