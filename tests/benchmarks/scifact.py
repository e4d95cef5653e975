"""nDCG@10 on SciFact: first stages alone, and reranked by both adapters through the emulator.

Run: ``python tests/benchmarks/scifact.py [--queries N]``; the collection is looked for in ``../shared/data/scifact``, or
where RERANKKIT_SHARED says.

The emulator's scores are BM25 over the candidates of a query: no service's, and no measure of one.  What the figures show
is that the order a scorer asks for arrives, through batches, adapters and retrievers; "judgements" is a scorer that knows
the answers, so that the last columns are the most that any reranker could make of these candidates.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from langchain_core.documents import Document
from llama_index.core.schema import NodeWithScore, TextNode

sys.path.insert(0, str(Path(__file__).parents[1]))

import langchain_rerankkit
import llamaindex_rerankkit
from helpers.shared import SHARED
from rerankkit.cli.collection import ndcg
from rerankkit.emulator import Emulator

FOLDER = SHARED / "data" / "scifact"
PLACES = 4096
CANDIDATES = 100
RANK_CONSTANT = 60  # of reciprocal rank fusion: Cormack, Clarke and Buettcher 2009

Run = Mapping[str, Sequence[str]]  # ids of documents, best first, by id of query
Ranker = Callable[[str, Sequence[str]], Sequence[str]]  # ids in another order, for a query


@dataclass(frozen=True)
class SciFact:
    """5,183 abstracts, 300 claims, and which abstracts bear on which."""

    texts: Mapping[str, str]
    queries: Mapping[str, str]
    grades: Mapping[str, Mapping[str, int]]
    bm25: Run

    @classmethod
    def load(cls) -> SciFact:
        corpus = [json.loads(line) for line in (FOLDER / "corpus.jsonl").read_text("utf-8").splitlines()]
        queries = [json.loads(line) for line in (FOLDER / "queries.jsonl").read_text("utf-8").splitlines()]
        grades: dict[str, dict[str, int]] = {}
        for line in (FOLDER / "qrels" / "test.tsv").read_text("utf-8").splitlines()[1:]:
            query, document, grade = line.split("\t")
            grades.setdefault(query, {})[document] = int(grade)
        bm25: dict[str, list[str]] = {}
        for line in (FOLDER / "runs" / "bm25-k0.9-b0.4-top100.trec").read_text("utf-8").splitlines():
            query, _, document, *_ = line.split()
            bm25.setdefault(query, []).append(document)
        texts = {entry["_id"]: f"{entry['title']} {entry['text']}" for entry in corpus}
        return cls(texts, {query["_id"]: query["text"] for query in queries}, grades, bm25)

    def score(self, run: Run) -> float:
        return statistics.mean(ndcg(documents, self.grades[query]) for query, documents in run.items())


def vectors(data: SciFact, queries: Sequence[str]) -> Run:
    """By the cosine of counted words: the stand-in for an embedding model of docs/applications.md."""
    ids = [*data.texts]
    documents = np.stack([counted(text) for text in data.texts.values()])
    return {query: [ids[place] for place in best(documents @ counted(data.queries[query]))] for query in queries}


def counted(text: str) -> np.ndarray:
    vector = np.zeros(PLACES, dtype=np.float32)
    for word in re.findall(r"\w+", text.lower()):
        vector[zlib.crc32(word.encode()) % PLACES] += 1.0
    return vector / np.linalg.norm(vector)


def best(similarities: np.ndarray) -> Sequence[int]:
    return np.argsort(-similarities, kind="stable")[:CANDIDATES].tolist()


def fused(*runs: Run) -> Run:
    """By reciprocal ranks."""
    return {query: _fused([run[query] for run in runs]) for query in runs[0]}


def _fused(rankings: Sequence[Sequence[str]]) -> list[str]:
    scores: dict[str, float] = {}
    for ranking in rankings:
        for rank, document in enumerate(ranking, start=1):
            scores[document] = scores.get(document, 0.0) + 1.0 / (RANK_CONSTANT + rank)
    return sorted(scores, key=lambda document: -scores[document])[:CANDIDATES]


@contextmanager
def adapters(data: SciFact, emulator: Emulator) -> Iterator[Mapping[str, Ranker]]:
    """Each framework's own way to rerank, to the same service."""
    options = {"api_key": "k" * 20, "base_url": emulator.urls["cohere"]}
    with langchain_rerankkit.CohereRerank(**options) as compressor, llamaindex_rerankkit.CohereRerank(**options) as processor:

        def by_langchain(query: str, ids: Sequence[str]) -> Sequence[str]:
            documents = [Document(data.texts[one], id=one) for one in ids]
            return [document.id or "" for document in compressor.compress_documents(documents, query)]

        def by_llamaindex(query: str, ids: Sequence[str]) -> Sequence[str]:
            nodes = [NodeWithScore(node=TextNode(text=data.texts[one], id_=one)) for one in ids]
            return [node.node_id for node in processor.postprocess_nodes(nodes, query_str=query)]

        yield {"LangChain": by_langchain, "LlamaIndex": by_llamaindex}


def knowing(data: SciFact) -> Callable[[str, Sequence[str]], list[float]]:
    """A scorer that knows the judgements."""
    queries = {text: query for query, text in data.queries.items()}
    documents = {text: document for document, text in data.texts.items()}

    def scores(query: str, texts: Sequence[str]) -> list[float]:
        grades = data.grades[queries[query]]
        return [float(grades.get(documents[text], 0)) for text in texts]

    return scores


def reranked(data: SciFact, run: Run, ranker: Ranker) -> Run:
    return {query: ranker(data.queries[query], documents) for query, documents in run.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--queries", type=int, default=300, help="the first so many (default: all 300)")
    options = parser.parse_args()
    if not FOLDER.is_dir():
        sys.exit(f"SciFact is not in {FOLDER}: set RERANKKIT_SHARED to the folder that holds data/scifact")
    data = SciFact.load()
    queries = [*data.queries][: options.queries]
    bm25 = {query: data.bm25[query] for query in queries}
    by_words = vectors(data, queries)
    runs = {"counted words": by_words, "BM25": bm25, "both, fused": fused(by_words, bm25)}
    found: dict[str, list[float]] = {name: [data.score(run)] for name, run in runs.items()}
    for scorer in (None, knowing(data)):
        with Emulator(in_process=True, scorer=scorer) as emulator, adapters(data, emulator) as rankers:
            for (name, run), (framework, ranker) in ((one, other) for one in runs.items() for other in rankers.items()):
                print(f"{name}, {framework}", file=sys.stderr, flush=True)
                found[name].append(data.score(reranked(data, run, ranker)))
    heads = ("LangChain", "LlamaIndex", "judgements, LangChain", "judgements, LlamaIndex")
    print(f"| first stage, {len(queries)} queries | alone | {' | '.join(heads)} |\n|---|{'---:|' * 5}")
    for name, figures in found.items():
        print(f"| {name} | {' | '.join(f'{figure:.4f}' for figure in figures)} |")


if __name__ == "__main__":
    main()
