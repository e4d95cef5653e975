"""``rerankkit demo``: what reranking does, without a key and without a network."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from rerankkit import Usage
from rerankkit.cli.collection import Collection, Query, ndcg, reciprocal_rank
from rerankkit.cli.tables import console, moved, show, stars, table
from rerankkit.cli.trial import CANDIDATES, Trial, left_out, run_trials

SHOWN = 6  # ranks of the question that is shown in full
BESIDE_TITLES = 32  # columns that the other cells of that table take
LEGEND = f"{stars(3)} answers the question   {stars(2)} in part   {stars(1)} is on its topic\n"
EXPLANATION = (
    "nDCG@10 weighs the order of the first ten, MRR@10 looks for the first answer.\n"
    "The services agree because one stand-in ranks for all of them.\n"
)


@click.command()
def demo() -> None:
    """See reranking work: no key, no network, under 20 seconds.

    Starts the emulator of all four services in a process of its own and ranks a small collection through each of the
    real clients over HTTP, from plain Python, through a LangChain retriever and through a LlamaIndex query engine.
    """
    screen = console()
    started = time.perf_counter()
    collection = Collection.load()
    screen.print(_introduction(collection))
    with _progress(screen) as progress:
        trials = run_trials(collection, progress)
    before = {
        query.id: [passage.id for passage in collection.first_stage(query.text, CANDIDATES)] for query in collection.queries
    }
    query = max(collection.queries, key=lambda query: _gain(query, before, trials[0]))
    title = f'One question, through {trials[0].name}:\n"{query.text}"'
    show(screen, title, _one_query(collection, query, before[query.id], trials[0], screen.width), LEGEND)
    title = f"All {len(collection.queries)} questions, before and after (1 is best)"
    show(screen, title, _quality(collection, before, trials), EXPLANATION)
    show(screen, "Milliseconds a call (median), and what the core's calls used", _cost(trials))
    screen.print(_closing(collection, trials, time.perf_counter() - started))


def _introduction(collection: Collection) -> Text:
    passages, questions = len(collection.passages), len(collection.queries)
    return Text.assemble(
        ("rerankkit demo\n", "bold"),
        f"{passages} passages of a ferry company's handbook, {questions} questions, graded answers.\n",
        f"The first stage counts shared words and hands its best {CANDIDATES} to a reranker.\n",
        ("The four services are emulated on this machine. Scores come from BM25, a\n", "yellow"),
        ("lexical stand-in: see documents move and every path work, but do not take\n", "yellow"),
        ("the figures for those of any real service.\n", "yellow"),
        (f"Not installed and left out: {', '.join(left_out())} (pip install 'rerankkit[all]').\n" if left_out() else "", "red"),
    )


def _progress(screen: Console) -> Progress:
    columns = (SpinnerColumn(), TextColumn("{task.description:<34}"), BarColumn(), TimeElapsedColumn())
    return Progress(*columns, console=screen, transient=True)


def _gain(query: Query, before: Mapping[str, Sequence[str]], trial: Trial) -> float:
    return ndcg(trial.rankings[query.id], query.grades) - ndcg(before[query.id], query.grades)


def _one_query(collection: Collection, query: Query, before: Sequence[str], trial: Trial, width: int) -> Table:
    """Before and after, side by side."""
    titles = {passage.id: passage.title for passage in collection.passages}
    after = trial.rankings[query.id]
    shown = table()
    shown.add_column("", justify="right")
    shown.add_column("first stage", no_wrap=True, width=(width - BESIDE_TITLES) // 2 + 4)
    shown.add_column("reranked", no_wrap=True, width=(width - BESIDE_TITLES) // 2 + 4)
    shown.add_column("was", no_wrap=True)
    shown.add_column("score", justify="right")
    for rank, (old, new) in enumerate(zip(before[:SHOWN], after[:SHOWN], strict=True), 1):
        was, score = moved(before.index(new) + 1, rank), f"{trial.scores[query.id][new]:.3f}"
        shown.add_row(str(rank), _graded(old, titles, query), _graded(new, titles, query), was, score)
    return shown


def _graded(name: str, titles: Mapping[str, str], query: Query) -> Text:
    grade = query.grades.get(name, 0)
    return Text(f"{stars(grade):<3} {titles[name]}", style=("dim", "green", "green", "bold green")[grade], overflow="ellipsis")


def _quality(collection: Collection, before: Mapping[str, Sequence[str]], trials: Sequence[Trial]) -> Table:
    """The measures over all questions, before and after."""
    shown = table()
    shown.add_column("", no_wrap=True)
    shown.add_column("nDCG@10", justify="right", no_wrap=True)
    shown.add_column("MRR@10", justify="right", no_wrap=True)
    shown.add_row("first stage", *_measures(collection, before))
    for trial in trials:
        shown.add_row(trial.name, *_measures(collection, trial.rankings))
    return shown


def _measures(collection: Collection, rankings: Mapping[str, Sequence[str]]) -> tuple[str, str]:
    means = [
        statistics.mean(measure(rankings[query.id], query.grades) for query in collection.queries)
        for measure in (ndcg, reciprocal_rank)
    ]
    return f"{means[0]:.3f}", f"{means[1]:.3f}"


def _cost(trials: Sequence[Trial]) -> Table:
    """What the calls took."""
    shown = table()
    shown.add_column("", no_wrap=True)
    for heading in ("core", "LangChain", "LlamaIndex", "requests"):
        shown.add_column(heading, justify="right", no_wrap=True)
    shown.add_column("usage", no_wrap=True)
    for trial in trials:
        times = [_median(trial.milliseconds.get(name)) for name in ("core", "LangChain", "LlamaIndex")]
        shown.add_row(trial.name, *times, str(trial.usage.requests), _used(trial.usage))
    return shown


def _median(milliseconds: Sequence[float] | None) -> str:
    return f"{statistics.median(milliseconds):.1f}" if milliseconds else "-"


def _used(usage: Usage) -> str:
    units = {"search units": usage.search_units, "tokens": usage.total_tokens, "rerank units": usage.rerank_units}
    return ", ".join(f"{value:,.0f} {name}" for name, value in units.items() if value is not None) or "none reported"


def _closing(collection: Collection, trials: Sequence[Trial], seconds: float) -> str:
    calls = sum(len(times) for trial in trials for times in trial.milliseconds.values())
    ways = len(trials[0].milliseconds)
    agreeing, rankings = sum(trial.agreeing for trial in trials), len(trials) * len(collection.queries)
    same = f"; the {ways} ways gave the same ranking {agreeing} times of {rankings}" if ways > 1 else ""
    return (
        f"\n{calls} calls in {seconds:.1f} s{same}.\n\n"
        "Your own documents, still without a key:\n"
        "  printf 'opening hours\\nrefund of a ticket\\n' | rerankkit rerank 'lost ticket'\n"
        "With a key, such as COHERE_API_KEY, for what a real model makes of them:\n"
        "  rerankkit rerank 'lost ticket' notes.txt --with cohere"
    )
