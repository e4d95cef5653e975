"""A reranker over one provider."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial

from rerankkit import _engine
from rerankkit._checks import check_integer, check_timeout
from rerankkit._degrading import OnError, check_on_error, ranked_or_given
from rerankkit._http import Http
from rerankkit._io import IO
from rerankkit._pricing import Pricing, check_prices, check_tokenizer
from rerankkit._tokens import Tokenizer
from rerankkit._wire import Transport
from rerankkit.errors import InvalidRequestError
from rerankkit.identity import CacheIdentity, facts_of
from rerankkit.ledger import Ledger
from rerankkit.money import Estimate
from rerankkit.provider import Price, Provider
from rerankkit.reranker import BaseReranker
from rerankkit.retry import Retry, check_retry
from rerankkit.types import D, RerankRequest, RerankResponse, label

logger = logging.getLogger("rerankkit")


class Client(BaseReranker):
    """Ranks through one hosted service.

    One object serves threads, event loops and forked processes at the same time. It opens connections when they
    are first needed; `close`, `aclose` or a ``with`` block closes them.

    Args:
        provider: Which service, which model, which options: ``Cohere("rerank-v3.5")``.
        timeout: Seconds a call may take as a whole, retries included.
        retry: When to send a request again; ``Retry(attempts=1)`` never does.
        concurrency: Requests under way at a time for one call whose documents need several.
        transport: The HTTP library: ``"httpx"``, ``"httpx2"``, or None for httpx2 where it is installed. ``"aiohttp"`` is for
            async calls, many at once; blocking calls of the same client go over what None would choose.
        on_error: ``"raise"``, or ``"passthrough"`` to answer an outage with the documents as they were given, without
            scores and marked ``status="degraded"``. A bad request or a bad key is raised in any case.
        prices: Of models that the price table lacks, or of your contract, by the model's name.
        tokenizer: How many tokens a text has, for estimates; None: about one for 4 bytes of Latin script.

    Attributes:
        ledger: What this client's calls came to, together and by tag.

    Raises:
        InvalidRequestError: An argument is out of range.
    """

    def __init__(
        self,
        provider: Provider,
        *,
        timeout: float = 30.0,
        retry: Retry | None = None,
        concurrency: int = 8,
        transport: Transport | None = None,
        on_error: OnError = "raise",
        prices: Mapping[str, Price] | None = None,
        tokenizer: Tokenizer | None = None,
    ) -> None:
        if not isinstance(provider, Provider):
            raise InvalidRequestError(
                f"provider must be a Provider such as Cohere(), got {provider!r}; strings go to connect()"
            )
        self.provider = provider
        self.timeout = check_timeout(timeout)
        self.on_error: OnError = check_on_error(on_error)
        self._policy = _engine.Policy(check_retry(retry), check_integer("concurrency", concurrency, 1, None))
        self._pricing = Pricing(provider, check_prices(prices, provider), check_tokenizer(tokenizer))
        self._http = Http(provider.base_url, transport)
        self.ledger = Ledger()

    @property
    def label(self) -> str:
        """The service and the model asked for."""
        return label(self.provider.name, self.provider.model)

    @property
    def takes_scores(self) -> bool:
        """Whether the service ranks by them, too."""
        return self.provider.takes_scores

    def __repr__(self) -> str:
        return f"Client({self.provider!r}, timeout={self.timeout:g})"

    def cache_identity(self) -> CacheIdentity | None:
        """The provider and its options, the key apart; None if one of them has no JSON form."""
        given = self.provider
        facts = facts_of(type(given), given.name, given.model, given.base_url, dict(given.arguments()))
        return None if facts is None else CacheIdentity(facts, given.model, given.pointwise, given.prepare)

    async def _rerank(self, io: IO, request: RerankRequest[D]) -> RerankResponse[D]:
        if self.on_error == "passthrough":
            return await ranked_or_given(self.label, request, partial(self._ranked, io, request))
        return await self._ranked(io, request)

    async def _ranked(self, io: IO, request: RerankRequest[D]) -> RerankResponse[D]:
        try:
            response = await _engine.rerank(io, self._http, self.provider, request, self._policy, price_of=self._pricing.price)
        except BaseException as error:
            self.ledger.failed(error)
            raise
        self.ledger.answered(response.usage, response.cost)
        for warning in response.warnings:
            logger.info("%s: %s", self.provider.name, warning)
        return response

    def _estimate(self, request: RerankRequest[D]) -> Estimate:
        return self._pricing.estimate(request)

    def close(self) -> None:
        """Close what blocking calls opened; the object cannot be used after."""
        self._http.close()

    async def aclose(self) -> None:
        """Close what blocking calls and the running event loop opened; the object cannot be used after."""
        await self._http.aclose()
