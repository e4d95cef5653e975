"""The client of one service, as fields; what each service can be told stands in the modules beside this one."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import cache
from operator import itemgetter
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, TypeAlias

from pydantic import (
    AfterValidator,
    Field,
    PrivateAttr,
    SecretStr,
    field_validator,
)

import rerankkit
from rerankkit import providers
from rerankkit._closing import Closing
from rerankkit._described import SECRET, parameters
from rerankkit._wire import Transport
from rerankkit.reranker import Reranker
from rerankkit.retry import Retry
from rerankkit.settings.mistakes import check_retry
from rerankkit.settings.rerankers import RankingSettings

if TYPE_CHECKING:
    from rerankkit.client import Client


def _hidden(key: SecretStr | str | None) -> SecretStr | None:
    return SecretStr(key) if isinstance(key, str) else key


Key: TypeAlias = Annotated[SecretStr | str | None, AfterValidator(_hidden), Field(exclude=True, repr=False)]
"""A key: given as text or as a secret, kept as a secret, shown and dumped nowhere."""


OF_CLIENT = ("concurrency", "retry", "transport", "on_error")


@cache
def _values_of(service: str) -> Callable[[Mapping[str, object]], tuple[object, ...]]:
    """What of settings a client is made of: compared at each call, to notice a change of them."""
    return itemgetter(*parameters(providers.load(service)), *OF_CLIENT)


class ServiceSettings(RankingSettings, Closing):
    """The client of one service; closing this closes it.

    Attributes:
        concurrency: Requests under way at a time for one call whose documents need several.
        retry: When to send a request again; None: as ``Retry()`` does.
        transport: ``"httpx"``, ``"httpx2"``, ``"aiohttp"`` for async calls, or None for httpx2 where it is installed.
        base_url: None: the service's own.
        allow_http: Lets `base_url` be unencrypted beyond this machine.
    """

    provider: ClassVar[str]
    ways_out: ClassVar[Mapping[str, str]] = {
        "max_retries": "there is no max_retries: pass retry=Retry(attempts=...), which counts all requests",
    }

    concurrency: int = Field(default=8, ge=1)
    retry: Retry | None = None
    transport: Transport | None = None
    base_url: str | None = None
    allow_http: bool = False

    _client: tuple[object, Client] | None = PrivateAttr(default=None)

    @field_validator("retry", mode="before")
    @classmethod
    def _check_retry(cls, retry: object) -> object:
        check_retry(retry)
        return retry

    def model_post_init(self, context: Any, /) -> None:  # noqa: ANN401 -- pydantic's signature
        """Say at once what the service would refuse; of a change, at the next call: two may belong together."""
        super().model_post_init(context)
        self.client()

    def _reranker(self) -> Reranker:
        return self.client()

    def client(self) -> Client:
        """The client for these settings; another one once they have changed."""
        values = _values_of(self.provider)(vars(self))
        made = self._client
        if made is None or made[0] != values:
            made = self._client = (copy.deepcopy(values), self._new_client())
        return made[1]

    def _new_client(self) -> Client:
        provider_class = providers.load(self.provider)
        own: dict[str, Any] = {name: getattr(self, name) for name in OF_CLIENT}
        return rerankkit.Client(provider_class(**{name: getattr(self, name) for name in parameters(provider_class)}), **own)

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
