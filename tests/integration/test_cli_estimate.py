"""``rerankkit estimate``, as it is typed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rerankkit import Client, Cohere, Voyage, providers
from rerankkit.cli.estimate import dollars

TEXT = "The ferry leaves at nine. "  # 26 bytes
TOKENS = 26 * 4 // 4 + 1


def command(*arguments: str, stdin: str = "", environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rerankkit", "estimate", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "80", **(environment or {})},
    )


def offers(*arguments: str, **options: Any) -> list[dict[str, Any]]:
    done = command(*arguments, "--json", **options)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


@pytest.fixture
def notes(tmp_path: Path) -> str:
    """A file of 120 documents."""
    path = tmp_path / "notes.txt"
    path.write_text((TEXT * 4 + "\n") * 120)
    return str(path)


def test_every_model_that_answers_is_compared_cheapest_first_and_without_a_key(notes: str) -> None:
    found = offers("-q", "when?", notes)
    known = {(name, model.name) for name in providers.REGISTRY for model in providers.load(name).models.values()}
    gone = {("cohere", "rerank-english-v2.0"), ("cohere", "rerank-multilingual-v2.0")}
    assert {(offer["service"], offer["model"]) for offer in found} == known - gone
    costs = [offer["cost"] for offer in found if offer["cost"] is not None]
    assert costs == sorted(costs)
    assert [offer["cost"] for offer in found[len(costs) :]] == [None] * (len(found) - len(costs))
    assert all((offer["cost"] is None) == (offer["unknown"] is not None) for offer in found)


def test_figures_are_those_that_a_client_estimates(notes: str) -> None:
    found = {offer["model"]: offer for offer in offers("--query", "when?", notes, "-s", "cohere", "-s", "voyage")}
    assert {offer["service"] for offer in found.values()} == {"cohere", "voyage"}
    tokens = 120 * 2 + 120 * TOKENS
    assert found["rerank-2.5"]["usage"] == {
        "requests": 1,
        "search_units": None,
        "total_tokens": tokens,
        "rerank_units": None,
    }
    documents = Path(notes).read_text().splitlines()
    for provider in (
        Voyage("rerank-2.5", api_key="k" * 9),
        Cohere(api_key="k" * 9),
        Cohere("rerank-v5.0-pro", api_key="k" * 9),
    ):
        assert found[str(provider.model)]["cost"] == Client(provider).estimate("when?", documents).cost


def test_the_table_shows_units_and_dollars_and_says_why_a_price_is_unknown(notes: str) -> None:
    lines = [" ".join(line.split()) for line in command("-q", "when?", notes).stdout.splitlines()]
    assert lines[0] == "One call with 120 documents"
    assert lines[3] == "cohere rerank-v5.0-fast 1 3,480 tokens 0.000070 0.0696"
    assert "cohere rerank-v3.5 1 2 search units 0.00400 4.00" in lines
    assert "pinecone bge-reranker-v2-m3 2 2 rerank units 0.00400 4.00" in lines
    assert "cohere rerank-english-v3.0 1 2 search units unknown unknown" in lines
    assert "kendra rescore 1 - unknown unknown" in lines
    assert "kendra rescore: the price is $0.14 per hour of a plan, used or not" in lines
    assert lines[-1] == "Prices as of 2026-11-20; `rerankkit models --json` names their sources."


def test_documents_of_several_files_or_of_a_pipe_are_one_call(notes: str, tmp_path: Path) -> None:
    (tmp_path / "hits.jsonl").write_text(f'{{"text": "{TEXT * 4}", "n": 1}}\n' * 10)
    both = offers("-q", "when?", notes, str(tmp_path / "hits.jsonl"), "-s", "voyage")
    piped = offers("-q", "when?", "-s", "voyage", stdin=(TEXT * 4 + "\n") * 130)
    assert both == piped == offers("-q", "when?", "-", "-s", "voyage", "-s", "voyage", stdin=(TEXT * 4 + "\n") * 130)
    assert both[0]["usage"]["total_tokens"] == 130 * 2 + 130 * TOKENS


def test_what_one_service_would_refuse_does_not_hide_the_others(notes: str) -> None:
    found = offers("-q", "q" * 1_001, notes)
    refused = {offer["service"]: offer["unknown"] for offer in found if offer["usage"]["requests"] == 0}
    assert refused == {"kendra": "query has 1,001 characters, kendra takes at most 1,000: shorten it"}
    assert sum(offer["cost"] is not None for offer in found) == 15


def test_prices_are_those_of_the_host_in_the_environment(notes: str) -> None:
    there = {"VOYAGE_BASE_URL": "https://eu.ai.mongodb.com/v1"}
    far, near = (
        {offer["model"]: offer["cost"] for offer in offers("-q", "when?", notes, "-s", "voyage", environment=environment)}
        for environment in (there, {})
    )
    assert far["rerank-2.5"] == pytest.approx(1.1 * near["rerank-2.5"])


@pytest.mark.parametrize(("columns", "lines"), [("40", 1), ("80", 1_000), ("200", 1_000)])
def test_figures_are_not_cut_in_a_narrow_terminal(columns: str, lines: int) -> None:
    shown = command("-q", "when?", stdin=("x" * 8_000 + "\n") * lines, environment={"COLUMNS": columns}).stdout
    assert "…" not in shown
    assert f"{2_003 * lines:,} tokens" in shown


MISTAKES: list[tuple[tuple[str, ...], str, str]] = [
    ((), "a\n", "Missing option '-q' / '--query'"),
    (("-q", " "), "a\n", "it is blank: there is nothing to rank by"),
    (("-q", "when?", "-s", "jina"), "a\n", "'jina' is not one of 'cohere'"),
    (("-q", "when?", "nowhere.txt"), "", "No such file"),
    (("-q", "when?"), "\n", "must hold a list of documents, it holds none"),
]


@pytest.mark.parametrize(("arguments", "stdin", "message"), MISTAKES, ids=[message for _, _, message in MISTAKES])
def test_a_mistake_is_explained_without_a_traceback(arguments: tuple[str, ...], stdin: str, message: str) -> None:
    done = command(*arguments, stdin=stdin)
    assert done.returncode in (1, 2)
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_documents_that_nobody_can_rank_are_said_to_be_so() -> None:
    found = offers("-q", "when?", stdin='{"body": "x"}\n')
    assert {offer["unknown"].partition(" (")[0] for offer in found} == {
        "documents[0] has no 'text'",
        "documents[0] has no 'text' or 'title'",
    }


def test_the_help_has_examples_in_lines_of_their_own() -> None:
    done = command("--help")
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert 'rerankkit estimate -q "refund of a lost ticket" notes.txt' in lines
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert command("-h").stdout == done.stdout


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (0.0, "0.00"),
        (4e-8, "<0.000001"),
        (4e-5, "0.000040"),
        (0.002, "0.00200"),
        (0.0219, "0.0219"),
        (0.5, "0.500"),
        (1.0, "1.00"),
        (12_345.678, "12,345.68"),
    ],
)
def test_small_sums_are_not_rounded_to_nothing(amount: float, shown: str) -> None:
    assert dollars(amount) == shown
