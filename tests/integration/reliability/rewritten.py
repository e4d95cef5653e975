"""Replies made from the right one: ``Rewritten(Item("score", math.nan))`` is the right one, but its last score is NaN.

A change is a function of the right reply's JSON object.  A text that begins with ``@`` becomes bare JSON, for what Python
cannot hold: ``"@1e999"``.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Barrier
from typing import Any, TypeAlias

from helpers.server import Received, Reply
from integration.reliability.faults import BY_NAME, Talk

Body: TypeAlias = dict[str, Any]
LISTS = ("results", "data", "ResultItems")
MEMBERS = {"index": ("index", "DocumentId"), "score": ("relevance_score", "score", "Score")}
LEFT_OUT = "a member that is not there"


def results_of(body: Body) -> list[dict[str, Any]]:
    return body[list_of(body)]


def list_of(body: Body) -> str:
    return next(name for name in LISTS if name in body)


def name_of(member: str, result: Mapping[str, Any]) -> str:
    """What this service calls a result's index or score."""
    return next(name for name in MEMBERS[member] if name in result)


def as_json(body: Any) -> bytes:
    return re.sub(rb'"@([^"]*)"', rb"\1", json.dumps(body).encode())


@dataclass(frozen=True)
class Rewritten:
    """The right reply after *change*."""

    change: Callable[[Body], Any]

    def __call__(self, talk: Talk) -> None:
        talk.reply(Reply(as_json(self.change(talk.good().body))))


@dataclass(frozen=True)
class Item:
    """The index or the score of one result, the last one if it is not said which, is *value*."""

    member: str
    value: Any
    rank: int = -1

    def __call__(self, body: Body) -> Body:
        result = results_of(body)[self.rank]
        name = name_of(self.member, result)
        result[name] = self.value
        if self.value == LEFT_OUT:
            del result[name]
        return body


@dataclass(frozen=True)
class Scores:
    """The documents have these scores, by position, and stand in this order; in that of their positions if not said."""

    values: Sequence[Any]
    order: Sequence[int] = ()

    def __call__(self, body: Body) -> Body:
        first = results_of(body)[0]
        index, score = name_of("index", first), name_of("score", first)
        kind = type(first[index])
        positions = self.order or range(len(self.values))
        return {**body, list_of(body): [{index: kind(position), score: self.values[position]} for position in positions]}


@dataclass(frozen=True)
class Results:
    """Something else in the place of the list of results."""

    value: Any

    def __call__(self, body: Body) -> Body:
        return {name: self.value if name in LISTS else value for name, value in body.items() if self._stays(name)}

    def _stays(self, name: str) -> bool:
        return name not in LISTS or self.value != LEFT_OUT


@dataclass(frozen=True)
class Envelope:
    """The same results in the form of another service."""

    service: str

    def __call__(self, body: Body) -> Any:
        pairs = [(int(item[name_of("index", item)]), item[name_of("score", item)]) for item in results_of(body)]
        if self.service == "openrouter":
            results = [{"index": i, "relevance_score": s, "document": {"text": ""}} for i, s in pairs]
            return {"id": "gen-rerank-1", "model": "cohere/rerank-v3.5", "provider": "Cohere", "results": results}
        return BY_NAME[self.service].answer(pairs)


@dataclass(frozen=True)
class Best:
    """The first *count* results alone."""

    count: int

    def __call__(self, body: Body) -> Body:
        return {**body, list_of(body): results_of(body)[: self.count]}


@dataclass(frozen=True)
class More:
    """Members that nobody knows, beside the others: in the whole, and in each result."""

    members: Mapping[str, Any]

    def __call__(self, body: Body) -> Body:
        return {**self.members, **body, list_of(body): [{**self.members, **result} for result in results_of(body)]}


@dataclass(frozen=True)
class Without:
    """One member of the whole is not there."""

    name: str

    def __call__(self, body: Body) -> Body:
        return {name: value for name, value in body.items() if name != self.name}


def doubled(body: Body) -> Body:
    """The last result is about the document of the first."""
    first, *_, last = results_of(body)
    last[name_of("index", last)] = first[name_of("index", first)]
    return body


def worst_first(body: Body) -> Body:
    return {**body, list_of(body): results_of(body)[::-1]}


def shuffled(body: Body) -> Body:
    results = results_of(body)
    return {**body, list_of(body): [*results[1::2], *results[::2]]}


def answers_in_full(talk: Talk) -> None:
    """All results, however few were asked for."""
    request = talk.read()
    body = {name: value for name, value in request.json.items() if name not in ("top_n", "top_k")}
    talk.reply(talk.answer(Received(request.method, request.path, request.headers, json.dumps(body).encode())))


@dataclass(frozen=True)
class Equal:
    """Every document of a request has the same score, whatever it looks like."""

    service: str

    def __call__(self, talk: Talk) -> None:
        body = talk.read().json
        if "Documents" in body:
            names = list(dict.fromkeys(entry.get("GroupId", entry["Id"]) for entry in body["Documents"]))
        else:
            names = list(range(len(body["documents"])))
        talk.reply(Reply(BY_NAME[self.service].answer([(name, 0.5) for name in names])))


def echoing(talk: Talk, form: str, others: Mapping[int, str] | None = None) -> Reply:
    """The right reply with the documents' texts, as ``"object"``s or as ``"text"``; *others* say other ones, by position."""
    body = talk.good().body
    sent = talk.received.json["documents"] if talk.received else []
    for result in results_of(body):
        text = (others or {}).get(result["index"], text_of(sent[result["index"]]))
        result["document"] = {"text": text} if form == "object" else text
    return Reply(body)


def text_of(document: Any) -> str:
    return document if isinstance(document, str) else document["text"]


@dataclass(frozen=True)
class Echo:
    """The right reply, which repeats the documents, some of them wrongly."""

    form: str
    others: Mapping[int, str]

    def __call__(self, talk: Talk) -> None:
        talk.reply(echoing(talk, self.form, self.others))


MEETINGS: dict[str, tuple[Barrier, list[Reply]]] = defaultdict(lambda: (Barrier(2, timeout=10), []))


@dataclass(frozen=True)
class Swapped:
    """Two requests that name the same *meeting* get each other's replies, which repeat the documents if *form* says how."""

    meeting: str
    form: str = ""

    def __call__(self, talk: Talk) -> None:
        barrier, replies = MEETINGS[self.meeting]
        own = echoing(talk, self.form) if self.form else talk.good()
        replies.append(own)
        barrier.wait()
        talk.reply(next(reply for reply in replies if reply is not own))
