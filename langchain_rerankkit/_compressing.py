"""What holds a compressor, or what one can be made of."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from langchain_core.documents import BaseDocumentCompressor
from pydantic import ConfigDict, InstanceOf, PrivateAttr, field_validator

from langchain_rerankkit.compressor import RerankCompressor
from rerankkit._closing import Closing
from rerankkit.reranker import Reranker
from rerankkit.settings.adapters import Settings
from rerankkit.settings.mistakes import check_is_no_adapter


class Compressing(Settings, Closing):
    """Closing it closes its compressor.

    Attributes:
        reranker: A compressor of this package or of another, or whatever `RerankCompressor` takes.
    """

    model_config = ConfigDict(
        extra="forbid", hide_input_in_errors=True, arbitrary_types_allowed=True, validate_assignment=True, defer_build=False
    )

    ways_out: ClassVar[Mapping[str, str]] = {
        "base_compressor": "base_compressor is called reranker here",
        "compressor": "compressor is called reranker here",
        "client": "client is called reranker here",
    }

    reranker: InstanceOf[BaseDocumentCompressor] | Reranker | Mapping[str, object] | str

    _made: tuple[object, BaseDocumentCompressor] | None = PrivateAttr(default=None)

    @field_validator("reranker", mode="before")
    @classmethod
    def _refuse_other_frameworks(cls, value: object) -> object:
        check_is_no_adapter(value, cls, nests=True)
        return value

    def model_post_init(self, context: Any, /) -> None:  # noqa: ANN401 -- pydantic's signature
        """Connect, if a string says to what."""
        super().model_post_init(context)
        self.compressor()

    def compressor(self) -> BaseDocumentCompressor:
        """Who reranks."""
        given, made = self.reranker, self._made
        if made is None or not (made[0] == given if isinstance(given, Mapping) else made[0] is given):
            compressor = given if isinstance(given, BaseDocumentCompressor) else RerankCompressor(reranker=given)
            made = self._made = (copy.deepcopy(given) if isinstance(given, Mapping) else given, compressor)
        return made[1]

    def share_connections(self, other: Self) -> None:
        """Use those of *other*, as long as both hold the same reranker."""
        self._made = other._made

    def close(self) -> None:
        """Close the compressor."""
        compressor = self.compressor()
        if isinstance(compressor, Closing):
            compressor.close()

    async def aclose(self) -> None:
        """Close the compressor, also what the running event loop opened."""
        compressor = self.compressor()
        if isinstance(compressor, Closing):
            await compressor.aclose()
