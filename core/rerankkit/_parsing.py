"""Reply bytes are validated strictly: no text is taken for a number, no NaN for a score."""

from __future__ import annotations

from typing import Annotated, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rerankkit._forking import UNDIVIDED
from rerankkit._wire import BOM

Count: TypeAlias = Annotated[float, Field(ge=0)]
"""Units that a call consumed."""

WholeCount: TypeAlias = Annotated[int, Field(ge=0)]
"""The same, where there are no halves."""


class Answer(BaseModel):
    """What a service answers; members that are not described here are ignored."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False, frozen=True, extra="ignore", protected_namespaces=())


A = TypeVar("A", bound=Answer)


def parse(form: type[A], content: bytes) -> A:
    """*content* as *form* describes it.

    Raises:
        ValueError: It is something else; the text says where, without quoting the answer.
    """
    try:
        with UNDIVIDED:  # pydantic's parser has a lock of its own, which a forked child would wait for
            return form.model_validate_json(content.removeprefix(BOM))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    place = ".".join(map(str, first["loc"])) or "the body"
    raise ValueError(f"{place}: {first['msg']}")  # outside, so that nothing leads back to pydantic's error, which quotes
