"""What the examples of docs/costs.md say a call costs, it costs: before it, by its answers, and by hand."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from helpers.server import Received, Reply, recorder
from helpers.services import SERVICES, Service
from helpers.ways import run
from rerankkit import Client, Retry
from rerankkit.money import counted

PAGE = Path(__file__).parents[2] / "docs" / "costs.md"
SERVICE: Mapping[str, Service] = {service.name: service for service in SERVICES}
UNIT = {"cohere": "search unit", "voyage": "token", "pinecone": "rerank unit", "kendra": "request"}
SERVED = {"cohere-rerank-3.5": "cohere-rerank-4-fast"}  # by Pinecone since 2026-08-31


@dataclass(frozen=True)
class Example:
    """A line of the table, as it stands there."""

    model: str
    documents: str
    tokens: str
    query: str
    answered: str
    calculation: str
    dollars: str
    thousand: str

    def __str__(self) -> str:
        return f"{self.model} {self.documents}x{self.tokens} {self.answered}"

    @property
    def service(self) -> Service:
        return SERVICE[self.model.partition(":")[0]]

    @property
    def unit(self) -> str:
        return "token" if "rerank-v5" in self.model else UNIT[self.service.name]

    @property
    def by_hand(self) -> Fraction | None:
        """The calculation, done by whoever reads it."""
        if self.dollars == "unknown":
            return None
        if self.calculation == "no request":
            return Fraction(0)
        text = self.calculation.replace(",", "").replace("×", "*")
        assert re.fullmatch(r"[\d.+*/() ]+", text)
        return eval(re.sub(r"[\d.]+", lambda number: f"Fraction('{number[0]}')", text))  # noqa: S307 -- figures and signs

    @property
    def bills(self) -> list[int]:
        """What the answers that are none of an error bill, request by request."""
        return [number(bill) for bill in self.answered.split(", ") if bill not in ("nothing", "-") and "!" not in bill]


def number(text: str) -> int:
    return int(text.replace(",", ""))


def examples() -> list[Example]:
    rows = re.findall(r"^\| ((?:cohere|voyage|pinecone|kendra).*) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    return [Example(*row.split(" | ")) for row in rows]


EXAMPLES = examples()
each = pytest.mark.parametrize("example", EXAMPLES, ids=str)


def text_of(tokens: int) -> str:
    """As many tokens as an estimate counts: one for 4 bytes, and one for what is left."""
    return "x" * (4 * tokens - 1)


def call_of(example: Example) -> tuple[str, list[str]]:
    return text_of(number(example.query)), [text_of(number(example.tokens))] * number(example.documents)


def client_for(example: Example, url: str) -> Client:
    model = example.model.partition(":")[2]
    return Client(example.service.make(url, **({"model": model} if model else {})), retry=Retry(base_delay=0))


def billing(example: Example, bill: str, count: int) -> dict[str, Any]:
    """The service's answer, with that bill."""
    answer = example.service.answer([(index, 0.5) for index in range(count)])
    if bill == "nothing":
        return answer
    if example.service.name == "cohere":
        return answer | {"meta": {"billed_units": {"text_tokens" if example.unit == "token" else "search_units": number(bill)}}}
    model = example.model.partition(":")[2]
    unit = {"voyage": "total_tokens", "pinecone": "rerank_units"}[example.service.name]
    return answer | {"model": SERVED.get(model, model), "usage": {unit: number(bill)}}


def test_there_are_as_many_as_were_promised() -> None:
    assert len(EXAMPLES) >= 20
    assert {example.service.name for example in EXAMPLES} == set(SERVICE)
    assert {example.unit for example in EXAMPLES if example.service.name == "cohere"} == {"search unit", "token"}
    assert sum(example.dollars == "unknown" for example in EXAMPLES) == 4


@each
def test_the_calculation_is_right(example: Example) -> None:
    expected = example.by_hand
    assert [example.dollars, example.thousand] == (
        ["unknown", "unknown"] if expected is None else [f"{float(expected):g}", f"{float(1000 * expected):.2f}"]
    )


@each
def test_the_estimate_is_what_was_calculated(example: Example) -> None:
    query, documents = call_of(example)
    estimate = client_for(example, "http://127.0.0.1:9").estimate(query, documents)
    if "unknown" in example.dollars and example.answered != "nothing":
        assert estimate.cost is None
    elif example.service.name == "kendra":
        assert (estimate.cost, estimate.usage.requests) == (None, 1)
    else:
        right = Fraction(11_000 * 5, 10**8) if example.by_hand is None else example.by_hand  # no bill, but a price
        assert estimate.cost == pytest.approx(float(right), rel=1e-12)
    if example.bills:
        assert counted(estimate.usage, example.unit) == sum(example.bills)
    sent = 0 if example.answered == "-" else 1 if "!" in example.answered else len(example.answered.split(", "))
    assert estimate.usage.requests == sent


@each
def test_the_response_costs_what_was_calculated(example: Example, colour: str) -> None:
    left = example.answered.split(", ")

    def answer(request: Received) -> Reply:
        bill = left.pop(0)
        if "!" in bill:
            return Reply(example.service.error("no"), status=int(bill.rstrip("!")))
        return Reply(billing(example, bill, len(example.service.texts(request.json))))

    with recorder(answer) as server, client_for(example, server.url) as client:
        response = run(colour, client, "rerank", *call_of(example))
    assert response.cost == (None if example.by_hand is None else pytest.approx(float(example.by_hand), rel=1e-12, abs=0))
    assert (
        len(server.requests) == response.usage.requests == (0 if example.answered == "-" else len(example.answered.split(", ")))
    )
    assert client.ledger.total.cost == (response.cost or 0.0)
    assert client.ledger.total.unpriced == (response.cost is None)
