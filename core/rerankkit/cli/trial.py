"""The demo's runs: each service's rankings of all questions, on every way that is installed, and what they took."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from rich.progress import Progress

import rerankkit
from rerankkit import Cohere, Kendra, Pinecone, Provider, Usage, Voyage
from rerankkit.cli.collection import Collection, Query
from rerankkit.cli.frameworks import Core, Way, langchain_retriever, llamaindex_engine
from rerankkit.emulator import Emulator
from rerankkit.emulator.settings import KEY

CANDIDATES = 25  # as many as Kendra ranks in one request

MakeWay: TypeAlias = "Callable[[Collection, rerankkit.Client, int], Way]"
NEEDS = {"LangChain": "langchain_core", "LlamaIndex": "llama_index", "Kendra": "botocore"}


@dataclass
class Trial:
    """One service's rankings of all questions.

    Attributes:
        rankings: By question.
        scores: By question, then by passage.
        agreeing: Questions for which all ways gave the same ranking.
        milliseconds: Of each call, by way.
        usage: Of the core's calls.
    """

    name: str
    rankings: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    scores: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])
    agreeing: int = 0
    milliseconds: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    usage: Usage = field(default_factory=Usage)


def left_out() -> list[str]:
    """What the demo has to do without, because it is not installed."""
    return [name for name, package in NEEDS.items() if importlib.util.find_spec(package) is None]


def run_trials(collection: Collection, progress: Progress) -> list[Trial]:
    """Every question through every service, against the emulator in a process of its own."""
    ways = _frameworks(progress)
    with Emulator() as emulator:
        return [_try(provider, collection, ways, progress) for provider in _providers(emulator)]


def _providers(emulator: Emulator) -> Iterator[Provider]:
    urls = emulator.urls
    yield Cohere(api_key=KEY, base_url=urls["cohere"])
    yield Voyage(api_key=KEY, base_url=urls["voyage"])
    yield Pinecone(api_key=KEY, base_url=urls["pinecone"])
    if "Kendra" not in left_out():
        url, plan = urls["kendra"], emulator.plan_id
        yield Kendra(plan, region="us-east-1", base_url=url, aws_access_key_id=KEY, aws_secret_access_key=KEY)


def _frameworks(progress: Progress) -> Mapping[str, MakeWay]:
    """The ways through the frameworks that are installed; importing them takes seconds, which is shown."""
    makers: Mapping[str, MakeWay] = {"LangChain": langchain_retriever, "LlamaIndex": llamaindex_engine}
    found = {name: make for name, make in makers.items() if name not in left_out()}
    task = progress.add_task(f"loading {' and '.join(found)}", total=None)
    for name in found:
        importlib.import_module(f"{name.lower()}_rerankkit")
    progress.remove_task(task)
    return found


def _try(provider: Provider, collection: Collection, makers: Mapping[str, MakeWay], progress: Progress) -> Trial:
    trial = Trial(provider.name)
    with rerankkit.Client(provider) as client:
        core = Core(collection, client, CANDIDATES)
        others = {name: make(collection, client, CANDIDATES) for name, make in makers.items()}
        for query in progress.track(collection.queries, description=f"ranking through {provider.name}"):
            ranking = _timed(trial, "core", core, query.text)
            _note(trial, query, core, ranking)
            same = [_timed(trial, name, way, query.text) == ranking for name, way in others.items()]
            trial.agreeing += all(same)
    return trial


def _timed(trial: Trial, name: str, way: Way, query: str) -> list[str]:
    started = time.perf_counter()
    ranking = way(query)
    trial.milliseconds.setdefault(name, []).append(1000 * (time.perf_counter() - started))
    return ranking


def _note(trial: Trial, query: Query, core: Core, ranking: Sequence[str]) -> None:
    trial.rankings[query.id] = list(ranking)
    if core.last is not None:
        trial.usage += core.last.usage
        trial.scores[query.id] = {result.document.id or "": result.relevance_score or 0.0 for result in core.last}
