"""A call, cut into what can be kept: pairs of query and document, or the whole list where scores depend on it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any, Generic, cast

import orjson

from rerankkit._degrading import in_given_order
from rerankkit._engine import SKIPPED_ORDER, substitution
from rerankkit._wire import encode, mended
from rerankkit.identity import CacheIdentity
from rerankkit.provider import Content, Prepared
from rerankkit.resilience._caching.entries import Entry, Row, entry_of
from rerankkit.types import D, RankedDocument, RerankRequest, RerankResponse

FORM = 1  # of keys and entries: another one shares nothing with this
DIGEST_BYTES = 20

Entries = Mapping[str, Entry]


class Units(ABC, Generic[D]):
    """The parts of a call that are kept, each under its key.

    Attributes:
        keys: Distinct, in the order of their documents.
        count: How many documents there are to rank.
        indices: The positions that rows of an entry may have.
    """

    keys: tuple[str, ...]

    def __init__(self, identity: CacheIdentity, request: RerankRequest[D], prepared: Prepared) -> None:
        self._identity = identity
        self._request = request
        self._prepared = prepared
        self.count = len(prepared.contents)
        self.indices: Collection[int] = range(len(request.items))

    @abstractmethod
    def request_for(self, keys: Sequence[str]) -> RerankRequest[D]:
        """What to ask for the entries of *keys*."""

    @abstractmethod
    def entries(self, keys: Sequence[str], response: RerankResponse[D]) -> Entries:
        """What *response* to that says, by key."""

    @abstractmethod
    def results(self, entries: Entries) -> Iterator[RankedDocument[D]]:
        """The answer to the whole call, uncut."""

    @abstractmethod
    def size(self, keys: Collection[str]) -> int:
        """How many documents go out for *keys*."""

    @abstractmethod
    def own_warnings(self, request: RerankRequest[D], response: RerankResponse[D]) -> list[str]:
        """Those of the answer to a part that hold for the whole call, and are kept nowhere."""

    @abstractmethod
    def warnings(self, entries: Entries, own: Sequence[str]) -> Iterator[str]:
        """What an uncached answer would say."""

    @abstractmethod
    def substitute(self, response: RerankResponse[Any]) -> RerankResponse[D] | None:
        """The answer to the whole call, if that to a part of it, not by the first choice, is all that is needed."""

    def _ranked(self, index: int, row: Row) -> RankedDocument[D]:
        return RankedDocument(index, row.score, self._request.documents[index], row.spans, row.skipped)


class Pairs(Units[D]):
    """Each document is ranked by itself; equal ones are one."""

    def __init__(self, identity: CacheIdentity, request: RerankRequest[D], prepared: Prepared) -> None:
        super().__init__(identity, request, prepared)
        self.indices = (0,)
        seed = _digest(identity, request.query)
        self._places: dict[str, list[int]] = {}
        for index, content in prepared.contents.items():
            digest = seed.copy()
            digest.update(_sent(content))
            self._places.setdefault(digest.hexdigest(), []).append(index)
        self.keys = tuple(self._places)

    def request_for(self, keys: Sequence[str]) -> RerankRequest[D]:
        """One of each, with all scores."""
        places = [self._places[key][0] for key in keys]
        documents = tuple(self._request.documents[place] for place in places)
        return replace(
            self._request, documents=documents, items=tuple(self._request.items[place] for place in places), top_n=None
        )

    def entries(self, keys: Sequence[str], response: RerankResponse[D]) -> Entries:
        """One for each pair, also for one that the answer leaves out."""
        found = {keys[result.index]: [replace(result, index=0)] for result in response}
        return {key: entry_of(response, found.get(key, [])) for key in keys}

    def results(self, entries: Entries) -> Iterator[RankedDocument[D]]:
        """By score, equal scores in the caller's order, then what has no score."""
        rows = {index: row for key, entry in entries.items() for row in entry.rows for index in self._places[key]}
        rows |= {index: Row(index, None, reason) for index, reason in self._prepared.skipped.items()}
        for index in sorted(rows, key=lambda index: (*_order(rows[index]), index)):
            yield self._ranked(index, rows[index])

    def size(self, keys: Collection[str]) -> int:
        """One for each."""
        return len(keys)

    def warnings(self, entries: Entries, own: Sequence[str]) -> Iterator[str]:
        """Those about the documents, those of the answers, and those about the model."""
        yield from self._prepared.warnings
        yield from own
        asked = self._identity.model
        for model in dict.fromkeys(entry.model for entry in entries.values()):
            if asked and model and model != asked:
                yield substitution(asked, model)

    def own_warnings(self, request: RerankRequest[D], response: RerankResponse[D]) -> list[str]:
        """All but those about the part's documents."""
        of_part = self._identity.prepare(request.items).warnings if response.warnings else ()
        return [warning for warning in response.warnings if warning not in of_part]

    def substitute(self, response: RerankResponse[Any]) -> RerankResponse[D] | None:
        """The given order, if that is what the answer has; other scores cannot be mixed with those that are kept."""
        if any(result.skipped != "not_ranked" for result in response):
            return None
        return in_given_order(self._request, response.attempts)


class Whole(Units[D]):
    """The list is ranked as one."""

    def __init__(self, identity: CacheIdentity, request: RerankRequest[D], prepared: Prepared) -> None:
        super().__init__(identity, request, prepared)
        digest = _digest(identity, request.query)
        texts = {str(index): content for index, content in prepared.contents.items()}
        digest.update(encode({"contents": texts, "count": len(request.items)})[0])
        self.keys = (digest.hexdigest(),) if texts else ()

    def request_for(self, keys: Sequence[str]) -> RerankRequest[D]:
        """The call, uncut."""
        return replace(self._request, top_n=None)

    def entries(self, keys: Sequence[str], response: RerankResponse[D]) -> Entries:
        """The only one."""
        return {key: entry_of(response, response.results, response.warnings) for key in keys}

    def results(self, entries: Entries) -> Iterator[RankedDocument[D]]:
        """As they were."""
        return (self._ranked(row.index, row) for entry in entries.values() for row in entry.rows)

    def size(self, keys: Collection[str]) -> int:
        """All, or none."""
        return self.count if keys else 0

    def own_warnings(self, request: RerankRequest[D], response: RerankResponse[D]) -> list[str]:
        """None: they are kept."""
        return []

    def warnings(self, entries: Entries, own: Sequence[str]) -> Iterator[str]:
        """As they were."""
        return (warning for entry in entries.values() for warning in entry.warnings)

    def substitute(self, response: RerankResponse[Any]) -> RerankResponse[D]:
        """The same about this call's documents: it is an answer to the whole of it."""
        documents = self._request.documents
        results = (replace(result, document=documents[result.index]) for result in response)
        return replace(response, results=tuple(results)[: self._request.top_n])


def units_of(identity: CacheIdentity, request: RerankRequest[D]) -> Units[D]:
    """The parts of *request* that can be kept.

    Raises:
        InvalidRequestError: It has documents that cannot be sent, or written down.
    """
    prepared = identity.prepare(request.items)
    return Pairs(identity, request, prepared) if identity.pointwise else Whole(identity, request, prepared)


def _digest(identity: CacheIdentity, query: str) -> blake2b:
    return blake2b(orjson.dumps([FORM, identity.facts.decode(), mended(query)]), digest_size=DIGEST_BYTES)


def _sent(content: Content) -> bytes:
    """A document as it goes out, or so that none that goes out as another is taken for it."""
    return b"=" + content.encode("utf-8", "surrogatepass") if isinstance(content, str) else encode(content)[0]


def _order(row: Row) -> tuple[int, float]:
    if row.score is not None:
        return (0, -row.score)
    return (1 + SKIPPED_ORDER.index(cast("Any", row.skipped or "no_score")), 0.0)
