"""What a contestant is: one way to rerank, spoken to alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

KEY = "k" * 40
TOP_N = 10

Kind = Literal["floor", "ours", "peer", "part"]


class Contestant:
    """One way to rerank.

    Attributes:
        name: How it is asked for, and what tables call it.
        kind: A floor is what the wire allows, a part is a piece of work alone, without a request.
        protocol: Which service it speaks to.
        packages: What has to be installed; their versions are in the results.
        imports: What a program that uses it imports; of several statements it is measured what each has come to.
        framework: What is imported before, and not counted as its own.
        blocking: It has a blocking call.
        native: Its async call is one, and no thread's; None: it has none.
        effort: Where nobody is named: 0 takes part in whatever is run, 1 not in what takes long of a quick run, 2 in none.
        scenarios: Takes part in these alone; None: in all.
    """

    name: ClassVar[str]
    kind: ClassVar[Kind] = "peer"
    protocol: ClassVar[str] = "cohere"
    packages: ClassVar[Sequence[str]] = ()
    imports: ClassVar[str] = "pass"
    framework: ClassVar[str] = "pass"
    blocking: ClassVar[bool] = True
    native: ClassVar[bool | None] = True
    effort: ClassVar[int] = 1
    scenarios: ClassVar[frozenset[str] | None] = None
    module: ClassVar[str] = ""

    def __init__(self, url: str) -> None:
        """Make the client; *url* has the paths of the protocols below it."""

    def prepare(self, texts: Sequence[str]) -> Any:
        """The documents as this one takes them; not measured."""
        return list(texts)

    def rerank(self, query: str, documents: Any) -> Any:
        raise NotImplementedError

    async def arerank(self, query: str, documents: Any) -> Any:
        raise NotImplementedError

    def pairs(self, answer: Any) -> list[tuple[int, float]] | None:
        """Index and score of each result, best first; None: nothing was ranked."""
        return [(result.index, result.relevance_score) for result in answer.results]

    async def aclose(self) -> None:
        """Close what was opened."""
