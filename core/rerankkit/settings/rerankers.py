"""Any reranker as a field, and what becomes of a call that nobody answers."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import (
    ConfigDict,
    PrivateAttr,
    field_serializer,
    field_validator,
)

import rerankkit
from rerankkit._checks import kind_of
from rerankkit._closing import Closing
from rerankkit._degrading import OnError
from rerankkit.errors import InvalidRequestError
from rerankkit.provider import Provider
from rerankkit.reranker import Reranker
from rerankkit.settings.adapters import Settings
from rerankkit.settings.mistakes import check_is_no_adapter


class RankingSettings(Settings):
    """What becomes of a call that nobody answers.

    Attributes:
        on_error: ``"raise"``, or ``"passthrough"`` to answer an outage with the documents in the order in which they were
            given, cut to `top_n`. A bad request or a bad key is raised in any case.
    """

    on_error: OnError = "raise"


class RerankerSettings(RankingSettings, Closing):
    """Any reranker; closing this closes it.

    Attributes:
        reranker: ``"cohere:rerank-v3.5"``, a description as `rerankkit.config` takes it, a `rerankkit.Client`, or any
            object with `rerank` and `arerank`. An object is not dumped.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    ways_out: ClassVar[Mapping[str, str]] = {
        "client": "client is called reranker here",
        "model": "there is no model: name it with its service, such as reranker='cohere:rerank-v3.5'",
        "max_retries": "there is no max_retries: pass reranker=Client(..., retry=Retry(attempts=...))",
    }

    reranker: Reranker | Mapping[str, object] | str

    _connected: tuple[object, OnError, Reranker] | None = PrivateAttr(default=None)

    @field_validator("reranker", mode="before")
    @classmethod
    def _refuse(cls, value: object) -> object:
        """Refuse what is no reranker though it looks like one, and keys before anything shows them."""
        if isinstance(value, Provider):
            raise InvalidRequestError(f"reranker must be a reranker, such as Client({value!r}), or a connect() string")
        if isinstance(value, type):
            raise InvalidRequestError(f"reranker must be a reranker, got {kind_of(value)}: write it with its parentheses")
        check_is_no_adapter(value, cls)
        refused = _refusal(value)
        if refused is not None:
            del value
            raise refused
        return value

    @field_serializer("reranker")
    def _dumped(self, reranker: Reranker | Mapping[str, object] | str) -> Mapping[str, object] | str | None:
        return reranker if isinstance(reranker, str | Mapping) else None

    def model_post_init(self, context: Any, /) -> None:  # noqa: ANN401 -- pydantic's signature
        """Connect, if a string or a description says to what."""
        super().model_post_init(context)
        self._reranker()

    def _reranker(self) -> Reranker:
        given, on_error = self.reranker, self.on_error
        private: Mapping[str, Any] = self.__pydantic_private__ or {}  # by its name pydantic takes 1 us to find it
        connected: tuple[object, OnError, Reranker] | None = private.get("_connected")
        if connected is None or not _is_same(connected[0], given) or connected[1] != on_error:
            reranker = rerankkit.from_config(given) if isinstance(given, str | Mapping) else given
            asked = rerankkit.Fallback(reranker, rerankkit.Passthrough()) if on_error == "passthrough" else reranker
            connected = self._connected = (copy.deepcopy(given) if isinstance(given, Mapping) else given, on_error, asked)
        return connected[2]

    def share_connections(self, other: Self) -> None:
        """Use those of *other*, as long as both hold the same reranker."""
        self._connected = other._connected

    def close(self) -> None:
        """Close the reranker."""
        reranker = self._reranker()
        if isinstance(reranker, Closing):
            reranker.close()

    async def aclose(self) -> None:
        """Close the reranker, also what the running event loop opened."""
        reranker = self._reranker()
        if isinstance(reranker, Closing):
            await reranker.aclose()


def _refusal(value: object) -> InvalidRequestError | None:
    """What to raise if *value* is a description that holds a key."""
    from rerankkit.config._secrets import refusal  # noqa: PLC0415 -- 50 ms that adapters of one service do not need

    return refusal(value)


def _is_same(one: object, other: object) -> bool:
    """Whether both are one object, or descriptions that say the same."""
    return one is other or (isinstance(other, str | Mapping) and one == other)
