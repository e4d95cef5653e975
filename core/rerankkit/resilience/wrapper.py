"""What all wrappers have in common: they hold rerankers, and close, copy and describe themselves by what they hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter
from numbers import Real
from typing import Any, ClassVar, cast

from rerankkit._checks import check_timeout, kind_of
from rerankkit._closing import Closing
from rerankkit._described import parameters, remade
from rerankkit._turns import estimate_of, label_of
from rerankkit.errors import InvalidRequestError
from rerankkit.identity import Cacheable, CacheIdentity, facts_of
from rerankkit.money import Estimate
from rerankkit.provider import Provider
from rerankkit.reranker import BaseReranker, Reranker
from rerankkit.types import D, RerankRequest


class Wrapper(BaseReranker):
    """A reranker over others.

    It is pickled and copied by its arguments: a copy has a state of its own.

    Args:
        rerankers: Those it asks; it closes them with itself.
        timeout: Seconds for a call as a whole; None: as long as the most patient of them.

    Attributes:
        keeps_scores: Whether each score in its answers is the one that a reranker it holds would have given.
    """

    keeps_scores: ClassVar[bool] = False

    rerankers: tuple[Reranker, ...]

    def __init__(self, *rerankers: Reranker, timeout: float | None = None) -> None:
        self.rerankers = tuple(check_reranker(reranker) for reranker in rerankers)
        longest = max(getattr(reranker, "timeout", BaseReranker.timeout) for reranker in self.rerankers)
        self.timeout = longest if timeout is None else check_timeout(timeout)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(_shown(type(self), self.arguments()))})"

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[type[Wrapper], Mapping[str, object]]]:
        return (remade, (type(self), self.arguments()))

    @property
    def label(self) -> str:
        """That of the reranker it asks first."""
        return label_of(self.rerankers[0])

    def cache_identity(self) -> CacheIdentity | None:
        """That of what it holds, if it keeps scores and all it holds are alike; or else its own, and listwise."""
        held = [reranker.cache_identity() if isinstance(reranker, Cacheable) else None for reranker in self.rerankers]
        if self.keeps_scores and all(identity == held[0] for identity in held):
            return held[0]
        facts = facts_of(type(self), {name: value for name, value in self.arguments().items() if name != "timeout"})
        return None if facts is None else CacheIdentity(facts)

    def _estimate(self, request: RerankRequest[D]) -> Estimate:
        """That of the reranker it asks first."""
        return estimate_of(self.rerankers[0], request)

    def close(self) -> None:
        """Close all it holds."""
        for reranker in self._closable():
            reranker.close()

    async def aclose(self) -> None:
        """Close all it holds, also what the running event loop opened."""
        for reranker in self._closable():
            await reranker.aclose()

    def _closable(self) -> Sequence[Closing]:
        return [reranker for reranker in self.rerankers if isinstance(reranker, Closing)]


def check_reranker(reranker: object) -> Reranker:
    """*reranker*, if it is one."""
    if not isinstance(reranker, Reranker) or isinstance(reranker, type):
        raise InvalidRequestError(
            f"expected a reranker such as Client(Cohere()) or connect('cohere'), got {kind_of(reranker)}{_way_out(reranker)}"
        )
    return reranker


def _way_out(given: object) -> str:
    """What was probably meant by *given*, for an error's text."""
    ways = {
        type: "write it with its parentheses",
        Provider: "put Client(...) around it",
        str: "connect(...) makes one of it",
        Mapping: "from_config(...) makes one of it",
        Sequence: "pass them one by one, with a * before the list",
        Real: "options are passed by name",
    }
    return next((f"; {way}" for kind, way in ways.items() if isinstance(given, kind)), "")


def _shown(of: type, arguments: Mapping[str, object]) -> list[str]:
    """Rerankers, and what there may be any number of, by themselves; other arguments by name, where they are not as they
    would be anyway.
    """
    found: list[str] = []
    for name, value in arguments.items():
        is_several = parameters(of)[name].kind is Parameter.VAR_POSITIONAL
        if is_several or isinstance(value, Reranker):
            found += map(repr, cast("Sequence[object]", value) if is_several else (value,))
        elif value != parameters(of)[name].default:
            found.append(f"{name}={_text(value)}")
    return found


def _text(value: object) -> str:
    """*value* as one would write it: classes by their names, and lists as lists."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_text, cast('Sequence[object]', value)))}]"
    return cast("type[object]", value).__name__ if isinstance(value, type) else repr(value)
