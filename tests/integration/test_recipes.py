"""The recipes of docs/recipes.md keep their promises under the emulator's faults, as code and as data."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.blocks import blocks
from helpers.patience import PATIENCE
from helpers.ways import run
from rerankkit import (
    AuthenticationError,
    BaseReranker,
    BudgetExceededError,
    Fallback,
    RateLimitError,
    ServerError,
    from_config,
    to_config,
)
from rerankkit.emulator import Emulator
from rerankkit.emulator.faults import Latency, Status
from rerankkit.resilience._caching import tiers

PAGE = Path(__file__).parents[2] / "docs" / "recipes.md"
DESCRIPTIONS = [yaml.safe_load(found) for found in re.findall(r"```yaml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)]
NAMES = ("chatbot", "batch", "tenant")
TEXTS = ["bus timetable", "ferry timetable", "dog rules"]


@pytest.fixture(autouse=True)
def _pointed_at_the_emulator(emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in emulator.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)


def in_code(name: str) -> BaseReranker:
    """The recipe as its block makes it; what the block did with it is closed again."""
    block = blocks(PAGE)[NAMES.index(name)]
    namespace: dict[str, Any] = {"__name__": "__main__", "print": lambda *shown: None}
    exec(block.source, namespace)  # noqa: S102 -- the page is this project's own
    return namespace[name]


def as_data(name: str) -> BaseReranker:
    return from_config(DESCRIPTIONS[NAMES.index(name)])


@pytest.fixture
def chatbot() -> Iterator[BaseReranker]:
    with as_data("chatbot") as found:
        yield found


@pytest.fixture
def batch(monkeypatch: pytest.MonkeyPatch) -> Iterator[BaseReranker]:
    monkeypatch.setattr(tiers, "MOST_SECONDS", PATIENCE)  # to open a new file once took a busy machine longer than a second
    with as_data("batch") as found:
        yield found


@pytest.fixture
def tenant() -> Iterator[BaseReranker]:
    with as_data("tenant") as found:
        yield found


@pytest.mark.parametrize("name", NAMES)
def test_code_and_data_say_the_same(name: str) -> None:
    found = to_config(in_code(name))
    if name == "batch":
        found["stores"][0]["path"] = "scores.sqlite"  # type: ignore[index]
    assert found == to_config(as_data(name)) == DESCRIPTIONS[NAMES.index(name)]


# The chatbot


def test_a_slow_answer_is_overtaken(chatbot: BaseReranker, emulator: Emulator, colour: str) -> None:
    for number in range(10):  # a tenth of a hedge each
        run(colour, chatbot, "rerank", f"question {number}", TEXTS)
    emulator.inject(Latency(seconds=1.4, times=1))
    response = run(colour, chatbot, "rerank", "ferry timetable", TEXTS)
    assert response.status == "ok"
    assert response.served_by == "cohere:rerank-v3.5"
    assert [turn.outcome for turn in response.attempts] == ["cancelled", "served"]
    assert response.usage.requests == 2


def test_an_outage_of_the_first_service_is_not_seen(chatbot: BaseReranker, emulator: Emulator, colour: str) -> None:
    emulator.inject(Status(service="cohere", status=503))
    for number in range(15):
        response = run(colour, chatbot, "rerank", f"ferry timetable {number}", TEXTS)
        assert (response.status, response.served_by) == ("degraded", "voyage:rerank-2.5")
        assert response.documents[0] == "ferry timetable"
    tried = len(emulator.requests("cohere"))
    assert tried <= 2 * 10, "the breaker has opened"


def test_an_outage_of_both_gives_the_order_that_was_there(chatbot: BaseReranker, emulator: Emulator, colour: str) -> None:
    emulator.inject(Status(status=503))
    response = run(colour, chatbot, "rerank", "ferry timetable", TEXTS, top_n=2)
    assert response.documents == TEXTS[:2]
    assert (response.status, response.served_by) == ("degraded", "passthrough")
    assert [turn.reranker for turn in response.attempts] == ["cohere:rerank-v3.5", "voyage:rerank-2.5", "passthrough"]


def test_a_wrong_key_is_raised(chatbot: BaseReranker, emulator: Emulator, colour: str) -> None:
    emulator.configure(keys=["another-key"])
    with pytest.raises(AuthenticationError):
        run(colour, chatbot, "rerank", "ferry timetable", TEXTS)


# The batch job


def test_a_hiccup_costs_no_result(batch: BaseReranker, emulator: Emulator, colour: str) -> None:
    emulator.inject(Status(service="voyage", status=503, times=2))
    response = run(colour, batch, "rerank", "ferry timetable", TEXTS)
    assert response.status == "ok"
    assert response.usage.requests == 3


def test_a_job_that_is_started_again_pays_for_what_is_new(batch: BaseReranker, emulator: Emulator, colour: str) -> None:
    run(colour, batch, "rerank", "ferry timetable", TEXTS)
    with as_data("batch") as again:
        response = run(colour, again, "rerank", "ferry timetable", [*TEXTS, "ferry fares"])
    assert (response.cache.hits, response.cache.misses) == (3, 1)
    assert [len(request.body["documents"]) for request in emulator.requests("voyage")] == [3, 1]


def test_a_job_stops_before_it_costs_too_much(emulator: Emulator, colour: str) -> None:
    description = DESCRIPTIONS[1]
    dear = {**description, "reranker": {**description["reranker"], "per_run": 0.00001}}
    with from_config(dear) as batch, pytest.raises(BudgetExceededError, match="per_run"):
        run(colour, batch, "rerank", "ferry timetable", ["a text of several words " * 200])
    assert emulator.requests("voyage") == []


# Many tenants


def test_a_spent_budget_costs_one_tenant_the_ranking_and_nobody_an_error(emulator: Emulator, colour: str) -> None:
    description = DESCRIPTIONS[2]
    budget, last = description["rerankers"]
    poor = {**description, "rerankers": [{**budget, "per_day": 0.003}, last]}
    with from_config(poor) as tenant:
        first = run(colour, tenant, "rerank", "ferry timetable", TEXTS)
        second = run(colour, tenant, "rerank", "another question", TEXTS)
    assert (first.status, second.status, second.documents) == ("ok", "degraded", TEXTS)
    assert "BudgetExceededError" in str(second.attempts[0].error)
    assert len(emulator.requests("cohere")) == 1


@pytest.mark.parametrize("status", [429, 503])
def test_an_outage_gives_the_tenants_the_order_that_was_there(
    tenant: BaseReranker, emulator: Emulator, colour: str, status: int
) -> None:
    emulator.inject(Status(status=status, retry_after=0.01))
    response = run(colour, tenant, "rerank", "ferry timetable", TEXTS, timeout=30)
    assert (response.documents, response.status) == (TEXTS, "degraded")
    kind = RateLimitError if status == 429 else ServerError
    assert kind.__name__ in str(response.attempts[0].error)
    assert isinstance(tenant, Fallback)
