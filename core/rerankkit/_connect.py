"""The one-line front door."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from rerankkit import providers
from rerankkit._checks import check_integer
from rerankkit._degrading import OnError, check_on_error
from rerankkit._described import parameters
from rerankkit._library import check_transport
from rerankkit._pricing import check_tokenizer
from rerankkit._secret import hidden
from rerankkit._tokens import Tokenizer
from rerankkit._wire import Transport
from rerankkit.client import Client
from rerankkit.errors import InvalidRequestError
from rerankkit.local import BM25
from rerankkit.provider import Price
from rerankkit.reranker import BaseReranker
from rerankkit.retry import Retry, check_retry


def connect(
    target: str,
    *,
    timeout: float = 30.0,
    retry: Retry | None = None,
    concurrency: int = 8,
    transport: Transport | None = None,
    on_error: OnError = "raise",
    prices: Mapping[str, Price] | None = None,
    tokenizer: Tokenizer | None = None,
    **options: object,
) -> BaseReranker:
    """A reranker from a string: ``"cohere"``, ``"cohere:rerank-v4.0-fast"``, ``"kendra:<plan id>"``, ``"local:bm25"``.

    The service's own options (``top_n`` is not among them, it belongs to the call) follow as keywords and are
    checked here; ``Client(Cohere(...))`` is the same, with the options known to a type checker.

    Raises:
        InvalidRequestError: The service, the model's form, or an option is unknown or out of range.
    """
    options = {name: _hidden_key(name, value) for name, value in options.items()}
    service, colon, name = target.partition(":") if isinstance(target, str) else ("", "", "")
    if service == "local":
        check_retry(retry)
        check_integer("concurrency", concurrency, 1, None)
        check_transport(transport)
        check_on_error(on_error)
        check_tokenizer(tokenizer)
        return _local(target, name, options, timeout)
    provider_class = providers.find(service, target)
    first, *known = inspect.signature(provider_class).parameters.values()
    _check_options(target, options, [parameter.name for parameter in known])
    if not name and (colon or first.default is first.empty):
        raise InvalidRequestError(f"{target!r} needs its {first.name}: '{service}:<{first.name}>'")
    provider = provider_class(*([name] if name else []), **options)
    sending = _told(Client, timeout=timeout, retry=retry, concurrency=concurrency, transport=transport)
    return Client(provider, **sending, **_told(Client, on_error=on_error, prices=prices, tokenizer=tokenizer))


def _told(of: type, **arguments: Any) -> Mapping[str, Any]:  # noqa: ANN401 -- whatever they are
    """Those that differ from the default: what was not asked for is no wish of the caller's."""
    return {name: value for name, value in arguments.items() if value != parameters(of)[name].default}


def _hidden_key(name: str, value: object) -> object:
    """*value*, which does not show itself if it is a key."""
    return hidden(value) if name in KEYS and isinstance(value, str) else value


def _local(target: str, name: str, options: Mapping[str, object], timeout: float) -> BM25:
    """A local ranker; it sends no requests, so that what concerns requests has no effect on it."""
    if name != "bm25":
        raise InvalidRequestError(f"{target!r} names no local ranker: there is 'local:bm25'")
    _check_options(target, options, ())
    return BM25(**_told(BM25, timeout=timeout))


KEYS = ("api_key", "aws_secret_access_key", "aws_session_token")
CLIENT_OPTIONS = ("timeout", "retry", "concurrency", "transport", "on_error", "prices", "tokenizer")
ELSEWHERE = {
    "model": "the model stands in the first argument, as 'service:model'",
    "plan_id": "the plan stands in the first argument, as 'kendra:<plan id>'",
    "top_n": "top_n belongs to rerank()",
    "top_k": "it is called top_n, and belongs to rerank()",
}


def _check_options(target: str, options: Iterable[str], known: Collection[str]) -> None:
    every = (*known, *CLIENT_OPTIONS)
    for option in options:
        if option not in known:
            close = difflib.get_close_matches(option, every, n=1)
            guess = f"did you mean {close[0]!r}? " if close else ""
            hint = ELSEWHERE.get(option) or f"{guess}it takes {', '.join(every)}"
            raise InvalidRequestError(f"{target!r} has no option {option!r}: {hint}")
