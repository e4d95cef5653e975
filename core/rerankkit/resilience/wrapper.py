"""What all wrappers have in common: they hold rerankers, and close, copy and describe themselves by what they hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter
from typing import Any, cast

from rerankkit._checks import check_timeout
from rerankkit._closing import Closing
from rerankkit._described import parameters, remade
from rerankkit._turns import estimate_of, label_of
from rerankkit.errors import InvalidRequestError
from rerankkit.money import Estimate
from rerankkit.reranker import BaseReranker, Reranker
from rerankkit.types import D, RerankRequest


class Wrapper(BaseReranker):
    """A reranker over others.

    It is pickled and copied by its arguments: a copy has a state of its own.

    Args:
        rerankers: Those it asks; it closes them with itself.
        timeout: Seconds for a call as a whole; None: as long as the most patient of them.
    """

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
            f"expected a reranker such as Client(Cohere()) or connect('cohere'), got {type(reranker).__name__}"
        )
    return reranker


def _shown(of: type, arguments: Mapping[str, object]) -> list[str]:
    """Rerankers by themselves, other arguments by name, where they are not as they would be anyway."""
    found: list[str] = []
    for name, value in arguments.items():
        several = parameters(of)[name].kind is Parameter.VAR_POSITIONAL
        values = cast("Sequence[object]", value) if several else (value,)
        if all(isinstance(each, Reranker) for each in values):
            found += map(repr, values)
        elif value != parameters(of)[name].default:
            found.append(f"{name}={_text(value)}")
    return found


def _text(value: object) -> str:
    """*value* as one would write it: classes by their names, and lists as lists."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_text, cast('Sequence[object]', value)))}]"
    return cast("type[object]", value).__name__ if isinstance(value, type) else repr(value)
