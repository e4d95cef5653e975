"""What adapters do around a call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self, cast

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    field_validator,
    model_validator,
)

from rerankkit._checks import check_top_n
from rerankkit._watching import WATCH
from rerankkit.errors import InvalidRequestError
from rerankkit.reranker import BaseReranker, Reranker
from rerankkit.settings.mistakes import no_option
from rerankkit.types import D, Document, RankedDocument, RerankResponse


class Settings(BaseModel):
    """Fields are what they are called, and what is unknown is refused without being shown.

    Attributes:
        further_names: Other names of fields.
        ways_out: What to say to one who passes an option that is not there, by its name; of all base classes together.
    """

    model_config = ConfigDict(
        extra="forbid",
        hide_input_in_errors=True,
        protected_namespaces=(),
        defer_build=True,  # most of these are base classes alone, and need no validators; adapters build theirs at once
    )

    further_names: ClassVar[Mapping[str, str]] = {}
    ways_out: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _know_all_options(cls, given: object) -> object:
        """Say which option is meant, where pydantic says that another input is not permitted."""
        unknown = _names_in(given) - cls.model_fields.keys()
        if unknown and cls.model_config.get("extra") == "forbid":
            known = cls._known_names()
            told = [cls._way_out(name) or no_option(name, cls.__name__, known) for name in sorted(unknown - known)]
            if told:
                raise InvalidRequestError("; ".join(told))
        return given

    @classmethod
    def _way_out(cls, name: str) -> str | None:
        tables: list[Mapping[str, str]] = [vars(each).get("ways_out", {}) for each in cls.__mro__]
        return next((table[name] for table in tables if name in table), None)

    @classmethod
    def _known_names(cls) -> set[str]:
        names = {*cls.model_fields, *cls.further_names}
        for field in cls.model_fields.values():
            alias = field.validation_alias
            choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
            names.update(str(choice if isinstance(choice, str) else choice.path[0]) for choice in choices if choice)
        return names


def _names_in(given: object) -> set[str]:
    """Of the options that a model is made of, unless that is another model."""
    return set(cast("dict[str, object]", given)) if isinstance(given, dict) else set()


class AdapterSettings(Settings):
    """What both adapters do around a rerank call.

    Attributes:
        top_n: How many documents to return; None or more than there are: all.
        min_score: Documents with a lower score, or with none, are left out; not of a degraded answer, whose scores are on
            another scale, or none.
        title_key: The metadata key of the title, which Kendra ranks beside the text; None: none.
        metadata_fields: Metadata that goes along as the document's fields, beside ``text``; None: what the service's
            `rank_fields` names, if it has any. No other metadata leaves the process.
        timeout: Seconds for one call as a whole; None: the reranker's own, 30 unless it was told otherwise.
    """

    top_n: int | None = Field(default=None, ge=1, strict=True)
    min_score: FiniteFloat | None = None
    title_key: str | None = None
    metadata_fields: list[str] | None = None
    timeout: float | None = Field(default=None, gt=0, allow_inf_nan=False)

    @field_validator("top_n", mode="before")
    @classmethod
    def _check_top_n(cls, top_n: object) -> object:
        return check_top_n(top_n)

    def candidates(
        self, reranker: Reranker, texts: Sequence[str], metadata: Iterable[Mapping[Any, Any]], scores: Iterable[float | None]
    ) -> Sequence[str | Document]:
        """What is ranked of a framework's documents: their texts, and what of their metadata was asked for."""
        if self.title_key is None and not self._field_names():
            if not _needs_scores(reranker):
                return texts
            pairs = zip(texts, scores, strict=False)  # scores may be without end
            return [text if score is None else Document(text=text, score=score) for text, score in pairs]
        return [self._candidate(*parts) for parts in zip(texts, metadata, scores, strict=False)]

    def _candidate(self, text: str, metadata: Mapping[Any, Any], score: float | None) -> str | Document:
        names = self._field_names()
        title = metadata.get(self.title_key) if self.title_key is not None else None
        fields = {name: text if name == "text" else metadata[name] for name in names if name == "text" or name in metadata}
        return Document(
            text=text,
            title=None if title is None else str(title),
            score=score,
            fields={**fields, "text": text} if names else None,
        )

    @model_validator(mode="after")
    def _know_what_is_ranked(self) -> Self:
        """Refuse metadata that would go nowhere: of one service it is known what it ranks."""
        service = getattr(self, "provider", None)
        ranked = getattr(self, "rank_fields", None) or ()
        if service is None:
            return self
        if self.metadata_fields is not None and not ranked and not getattr(self, "return_documents", False):
            way_out = "name the fields to rank with rank_fields=" if hasattr(self, "rank_fields") else "leave it out"
            raise InvalidRequestError(f"metadata_fields has no effect: {service} ranks the text alone here; {way_out}")
        if self.title_key is not None and service != "kendra" and "title" not in ranked:
            way_out = "name 'title' in rank_fields=" if hasattr(self, "rank_fields") else "leave it out"
            raise InvalidRequestError(f"title_key has no effect: {service} ranks no title here; {way_out}")
        return self

    def _field_names(self) -> Sequence[str]:
        if self.metadata_fields is not None:
            return self.metadata_fields
        return self._option("rank_fields") or ()

    def _option(self, name: str) -> Any:  # noqa: ANN401 -- of whatever type the field is
        """The field of that name; None where there is none, which pydantic's `__getattr__` takes 2 us to find out."""
        return vars(self).get(name)

    def tells_spans(self, response: RerankResponse[D]) -> bool:
        """Whether *response* says where documents are relevant, so that a document without spans has none."""
        return bool(self._option("relevant_spans")) or any(result.spans for result in response.results)

    def kept(self, response: RerankResponse[D]) -> list[RankedDocument[D]]:
        """The results that `min_score` lets through; of a degraded answer all of them."""
        if self.min_score is None or response.status == "degraded":
            return list(response.results)
        return [
            result
            for result in response.results
            if result.relevance_score is not None and result.relevance_score >= self.min_score
        ]


def _needs_scores(reranker: Reranker) -> bool:
    """Whether somebody looks at first-stage scores: of most clients it is known that nobody does, unless they are watched."""
    return WATCH.begin is not None or not isinstance(reranker, BaseReranker) or reranker.takes_scores
