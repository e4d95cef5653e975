"""Options as the fields of pydantic models, for frameworks that are configured so.

The LangChain and LlamaIndex classes of a service are one of these and their framework's base class: what a service
can be told stands here once.  A test holds each against the arguments of its provider.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    PrivateAttr,
    SecretStr,
    field_serializer,
    field_validator,
    model_validator,
)

from rerankkit import providers
from rerankkit._checks import kind_of
from rerankkit._closing import Closing
from rerankkit._degrading import OnError
from rerankkit._described import SECRET, parameters
from rerankkit._library import Transport
from rerankkit.client import Client
from rerankkit.config import from_config
from rerankkit.config._secrets import refusal
from rerankkit.errors import InvalidRequestError
from rerankkit.provider import Provider
from rerankkit.providers import cohere, pinecone, voyage
from rerankkit.reranker import Reranker
from rerankkit.resilience import Fallback, Passthrough
from rerankkit.retry import Retry
from rerankkit.types import D, Document, RankedDocument, RerankResponse


def _hidden(key: SecretStr | str | None) -> SecretStr | None:
    return SecretStr(key) if isinstance(key, str) else key


Key: TypeAlias = Annotated[SecretStr | str | None, AfterValidator(_hidden), Field(exclude=True, repr=False)]
"""A key: given as text or as a secret, kept as a secret, shown and dumped nowhere."""


class Settings(BaseModel):
    """Fields are what they are called, and what is unknown is refused without being shown."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, protected_namespaces=())


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

    def candidate(self, text: str, metadata: Mapping[Any, Any], score: float | None = None) -> str | Document:
        """What is ranked of a framework's document: its text, and what of its metadata was asked for."""
        names = self._field_names()
        if score is None and self.title_key is None and not names:
            return text
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
        names: Sequence[str] | None = getattr(self, "rank_fields", None)
        return names or ()

    def kept(self, response: RerankResponse[D]) -> list[RankedDocument[D]]:
        """The results that `min_score` lets through; of a degraded answer all of them."""
        if self.min_score is None or response.status == "degraded":
            return list(response.results)
        return [
            result
            for result in response.results
            if result.relevance_score is not None and result.relevance_score >= self.min_score
        ]


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
        refused = refusal(value)
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
        if self._connected is None or not _is_same(self._connected[0], given) or self._connected[1] != on_error:
            reranker = from_config(given) if isinstance(given, str | Mapping) else given
            asked = Fallback(reranker, Passthrough()) if on_error == "passthrough" else reranker
            self._connected = (copy.deepcopy(given) if isinstance(given, Mapping) else given, on_error, asked)
        return self._connected[2]

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


def _is_same(one: object, other: object) -> bool:
    """Whether both are one object, or descriptions that say the same."""
    return one is other or (isinstance(other, str | Mapping) and one == other)


class ServiceSettings(RankingSettings, Closing):
    """The client of one service; closing this closes it.

    Attributes:
        concurrency: Requests under way at a time for one call whose documents need several.
        retry: When to send a request again; None: three attempts.
        transport: ``"httpx"``, ``"httpx2"``, or None for httpx2 where it is installed.
        base_url: None: the service's own.
        allow_http: Lets `base_url` be unencrypted beyond this machine.
    """

    provider: ClassVar[str]

    concurrency: int = Field(default=8, ge=1)
    retry: Retry | None = None
    transport: Transport | None = None
    base_url: str | None = None
    allow_http: bool = False

    _client: tuple[object, Client] | None = PrivateAttr(default=None)

    def model_post_init(self, context: Any, /) -> None:  # noqa: ANN401 -- pydantic's signature
        """Say at once what the service would refuse; of a change, at the next call: two may belong together."""
        super().model_post_init(context)
        self.client()

    def _reranker(self) -> Reranker:
        return self.client()

    def client(self) -> Client:
        """The client for these settings; another one once they have changed."""
        provider_class = providers.load(self.provider)
        options = {name: getattr(self, name) for name in parameters(provider_class)}
        own: dict[str, Any] = {name: getattr(self, name) for name in ("concurrency", "retry", "transport", "on_error")}
        if self._client is None or self._client[0] != (options, own):
            self._client = (copy.deepcopy((options, own)), Client(provider_class(**options), **own))
        return self._client[1]

    def share_connections(self, other: Self) -> None:
        """Use those of *other*, as long as both have the same settings."""
        self._client = other._client

    def close(self) -> None:
        """Close what blocking calls opened; the object cannot be used after."""
        self.client().close()

    async def aclose(self) -> None:
        """Close what blocking calls and the running event loop opened; the object cannot be used after."""
        await self.client().aclose()

    def __getstate__(self) -> dict[Any, Any]:
        """Without keys and connections: whoever loads a pickle has keys of his own in the environment."""
        state: dict[Any, Any] = super().__getstate__()
        fields = {name: None if name in SECRET else value for name, value in state["__dict__"].items()}
        private: dict[str, Any] = {**(state.get("__pydantic_private__") or {}), "_client": None}
        return {**state, "__dict__": fields, "__pydantic_private__": private}


class CohereSettings(ServiceSettings):
    """The options of `rerankkit.Cohere`, which describes them."""

    provider = "cohere"

    model: str = cohere.DEFAULT_MODEL
    api_key: Key = None
    api_version: Literal["v2", "v1"] = "v2"
    rank_fields: list[str] | None = None
    max_tokens_per_doc: int | None = None
    priority: int | None = None
    relevant_spans: bool | dict[str, int | float] | None = None  # pydantic would make a float of max_spans
    return_documents: bool = False
    max_chunks_per_doc: int | None = None
    client_name: str | None = None


class VoyageSettings(ServiceSettings):
    """The options of `rerankkit.Voyage`, which describes them."""

    provider = "voyage"

    model: str = voyage.DEFAULT_MODEL
    api_key: Key = None
    truncation: bool = True
    return_documents: bool = False
    instruction: str | None = None


class PineconeSettings(ServiceSettings):
    """The options of `rerankkit.Pinecone`, which describes them."""

    provider = "pinecone"

    model: str = pinecone.DEFAULT_MODEL
    api_key: Key = None
    rank_fields: list[str] | None = None
    return_documents: bool = False
    truncate: Literal["END", "NONE"] | None = None
    max_tokens_per_doc: int | None = None
    max_chunks_per_doc: int | None = None
    api_version: str = pinecone.API_VERSION


class KendraSettings(ServiceSettings):
    """The options of `rerankkit.Kendra`, which describes them."""

    provider = "kendra"

    plan_id: str
    region: str | None = None
    fips: bool = False
    profile: str | None = None
    aws_access_key_id: str | None = Field(default=None, exclude=True, repr=False)
    aws_secret_access_key: Key = None
    aws_session_token: Key = None
    overflow: Literal["append", "error"] = "append"
