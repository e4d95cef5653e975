"""``rerankkit demo``: what reranking does, without a key and without a network."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from rerankkit import Client, Cohere, Kendra, Pinecone, Provider, Usage, Voyage
from rerankkit.cli.collection import Collection, Query, ndcg, reciprocal_rank
from rerankkit.cli.frameworks import Core, Way, langchain_retriever, llamaindex_engine
from rerankkit.cli.tables import moved, table
from rerankkit.emulator.process import KEY, Emulator

CANDIDATES = 25  # as many as Kendra ranks in one request
SHOWN = 6  # ranks of the query that is shown in full


@dataclass
class Trial:
    """One service's rankings of all queries, and what they took.

    Attributes:
        rankings: By query id.
        agreeing: Queries for which every other way gave the same ranking.
        milliseconds: Of each call, by way.
    """

    name: str
    rankings: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    scores: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])
    agreeing: int = 0
    milliseconds: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    usage: Usage = field(default_factory=Usage)


@click.command()
def demo() -> None:
    """See reranking work: no key, no network, under 20 seconds.

    Starts the emulator of all four services in a process of its own and ranks a small collection through each of the
    real clients over HTTP, from plain Python, through a LangChain retriever and through a LlamaIndex query engine.
    """
    console = Console(highlight=False)
    started = time.perf_counter()
    collection = Collection.load()
    console.print(_introduction(collection))
    with _progress(console) as progress, Emulator() as emulator:
        trials = [_try(provider, collection, progress) for provider in _providers(emulator)]
    before = {
        query.id: [passage.id for passage in collection.first_stage(query.text, CANDIDATES)] for query in collection.queries
    }
    query = max(collection.queries, key=lambda query: _gain(query, before, trials[0]))
    console.print(_one_query(collection, query, before[query.id], trials[0]))
    console.print(_all_queries(collection, before, trials))
    console.print(_closing(collection, trials, time.perf_counter() - started))


def _introduction(collection: Collection) -> Text:
    passages, questions = len(collection.passages), len(collection.queries)
    return Text.assemble(
        ("rerankkit demo\n", "bold"),
        f"{passages} passages of a ferry company's handbook, {questions} questions, graded answers.\n",
        f"The first stage counts shared words and hands its best {CANDIDATES} to a reranker.\n",
        ("The four services are emulated on this machine. Scores come from BM25, a\n", "yellow"),
        ("lexical stand-in: see documents move and every path work, but do not take\n", "yellow"),
        ("the figures for those of any real service.\n", "yellow"),
    )


def _progress(console: Console) -> Progress:
    columns = (SpinnerColumn(), TextColumn("{task.description:<34}"), BarColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)


def _providers(emulator: Emulator) -> Iterator[Provider]:
    urls = emulator.urls
    yield Cohere(api_key=KEY, base_url=urls["cohere"])
    yield Voyage(api_key=KEY, base_url=urls["voyage"])
    yield Pinecone(api_key=KEY, base_url=urls["pinecone"])
    yield Kendra(
        emulator.plan_id, region="us-east-1", aws_access_key_id=KEY, aws_secret_access_key=KEY, base_url=urls["kendra"]
    )


def _try(provider: Provider, collection: Collection, progress: Progress) -> Trial:
    """Every query through one service, on all three ways."""
    trial = Trial(provider.name)
    with Client(provider) as client:
        core = Core(collection, client, CANDIDATES)
        others = {name: make(collection, client, CANDIDATES) for name, make in _frameworks(progress).items()}
        task = progress.add_task(f"{provider.name}: {len(others) + 1} ways", total=len(collection.queries))
        for query in collection.queries:
            ranking = _timed(trial, "core", core, query.text)
            _note(trial, query, core, ranking)
            same = [_timed(trial, name, way, query.text) == ranking for name, way in others.items()]
            trial.agreeing += all(same)
            progress.advance(task)
    return trial


def _frameworks(progress: Progress) -> Mapping[str, Callable[[Collection, Client, int], Way]]:
    """Those of the two that are installed."""
    task = progress.add_task("loading LangChain and LlamaIndex", total=None)
    found: dict[str, Callable[[Collection, Client, int], Way]] = {}
    for name, package, make in (
        ("LangChain", "langchain_rerankkit", langchain_retriever),
        ("LlamaIndex", "llamaindex_rerankkit", llamaindex_engine),
    ):
        try:
            __import__(package)
        except ModuleNotFoundError:
            progress.console.print(f"{name} is not installed and left out.")
        else:
            found[name] = make
    progress.remove_task(task)
    return found


def _timed(trial: Trial, name: str, way: Way, query: str) -> list[str]:
    started = time.perf_counter()
    ranking = way(query)
    trial.milliseconds.setdefault(name, []).append(1000 * (time.perf_counter() - started))
    return ranking


def _note(trial: Trial, query: Query, core: Core, ranking: list[str]) -> None:
    trial.rankings[query.id] = ranking
    if core.last is not None:
        trial.usage += core.last.usage
        trial.scores[query.id] = {result.document.id or "": result.relevance_score or 0.0 for result in core.last}


def _gain(query: Query, before: Mapping[str, Sequence[str]], trial: Trial) -> float:
    return ndcg(trial.rankings[query.id], query.grades) - ndcg(before[query.id], query.grades)


def _one_query(collection: Collection, query: Query, before: Sequence[str], trial: Trial) -> Table:
    """Before and after, side by side."""
    titles = {passage.id: passage.title for passage in collection.passages}
    after = trial.rankings[query.id]
    shown = table(f'One question, through {trial.name}:\n"{query.text}"')
    shown.add_column("", justify="right")
    shown.add_column("first stage", no_wrap=True, width=28)
    shown.add_column("reranked", no_wrap=True, width=28)
    shown.add_column("was", no_wrap=True)
    shown.add_column("score", justify="right")
    for rank, (old, new) in enumerate(zip(before[:SHOWN], after[:SHOWN], strict=True), 1):
        was, score = moved(before.index(new) + 1, rank), f"{trial.scores[query.id][new]:.3f}"
        shown.add_row(str(rank), _graded(old, titles, query), _graded(new, titles, query), was, score)
    shown.caption = "★★★ answers the question   ★★ in part   ★ is on its topic"
    return shown


def _graded(name: str, titles: Mapping[str, str], query: Query) -> Text:
    grade = query.grades.get(name, 0)
    return Text(f"{'★' * grade:<3} {titles[name]}", style=("dim", "green", "green", "bold green")[grade], overflow="ellipsis")


def _all_queries(collection: Collection, before: Mapping[str, Sequence[str]], trials: Sequence[Trial]) -> Table:
    """The measures over all queries, before and after."""
    shown = table(f"\nAll {len(collection.queries)} questions: quality, milliseconds a call on each way, and what it took")
    shown.add_column("", no_wrap=True)
    for heading in ("nDCG@10", "MRR@10", "core", "Lang-\nChain", "Llama-\nIndex", "re-\nquests"):
        shown.add_column(heading, justify="right", no_wrap=True)
    shown.add_column("usage", no_wrap=True)
    shown.add_row("first stage", *_measures(collection, before), "", "", "", "", "")
    for trial in trials:
        times = [_median(trial.milliseconds.get(name)) for name in ("core", "LangChain", "LlamaIndex")]
        shown.add_row(trial.name, *_measures(collection, trial.rankings), *times, str(trial.usage.requests), _used(trial.usage))
    return shown


def _measures(collection: Collection, rankings: Mapping[str, Sequence[str]]) -> tuple[str, str]:
    means = [
        statistics.mean(measure(rankings[query.id], query.grades) for query in collection.queries)
        for measure in (ndcg, reciprocal_rank)
    ]
    return f"{means[0]:.3f}", f"{means[1]:.3f}"


def _median(milliseconds: Sequence[float] | None) -> str:
    return f"{statistics.median(milliseconds):.1f}" if milliseconds else "-"


def _used(usage: Usage) -> str:
    units = {"search units": usage.search_units, "tokens": usage.total_tokens, "rerank units": usage.rerank_units}
    return ", ".join(f"{value:,.0f} {name}" for name, value in units.items() if value is not None) or "none reported"


def _closing(collection: Collection, trials: Sequence[Trial], seconds: float) -> str:
    calls = sum(len(times) for trial in trials for times in trial.milliseconds.values())
    agreeing, rankings = sum(trial.agreeing for trial in trials), len(trials) * len(collection.queries)
    return (
        f"{calls} calls in {seconds:.1f} s; all ways gave the same ranking for {agreeing} of {rankings}.\n\n"
        "Your own documents, still without a key:\n"
        '  rerankkit rerank "refund of a lost ticket" notes.txt\n'
        "With a key, such as COHERE_API_KEY, for what a real model makes of them:\n"
        '  rerankkit rerank "refund of a lost ticket" notes.txt --with cohere'
    )
