"""The demo's collection, its deliberately simple first stage, and the usual measures.

The passages are the handbook of a ferry that does not exist, written and judged for this demo: not for navigation,
and no benchmark.  Grades: 3 answers the query, 2 answers it in part or is a closely related rule, 1 is on its topic.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

WORD = re.compile(r"[a-z0-9]+")
CUTOFF = 10  # ranks that the measures look at
ANSWERS = 2  # the lowest grade that counts as an answer


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage of the handbook."""

    id: str
    title: str
    text: str

    @property
    def words(self) -> set[str]:
        """The words of title and text."""
        return set(WORD.findall(f"{self.title} {self.text}".lower()))


@dataclass(frozen=True, slots=True)
class Query:
    """A question and the grades of the passages judged for it, by id."""

    id: str
    text: str
    grades: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Collection:
    """Passages and queries."""

    passages: Sequence[Passage]
    queries: Sequence[Query]

    @classmethod
    def load(cls) -> Collection:
        """The collection that comes with the package."""
        sample = files("rerankkit.cli") / "sample"
        passages = [json.loads(line) for line in (sample / "passages.jsonl").read_text("utf-8").splitlines()]
        queries = [json.loads(line) for line in (sample / "queries.jsonl").read_text("utf-8").splitlines()]
        rows = list(csv.DictReader((sample / "qrels.tsv").read_text("utf-8").splitlines(), delimiter="\t"))
        grades: dict[str, dict[str, int]] = {}
        for row in rows:
            grades.setdefault(row["query-id"], {})[row["passage-id"]] = int(row["grade"])
        return cls(
            [Passage(**passage) for passage in passages],
            [Query(query["id"], query["text"], grades[query["id"]]) for query in queries],
        )

    def first_stage(self, query: str, count: int) -> list[Passage]:
        """The passages that share the most words with *query*, whatever these words are."""
        asked = set(WORD.findall(query.lower()))
        return sorted(self.passages, key=lambda passage: -len(asked & passage.words))[:count]


def ndcg(ranking: Sequence[str], grades: Mapping[str, int]) -> float:
    """nDCG@10 of a ranking of ids: 1.0 is the best order there is.  Gain is the grade, as in trec_eval."""
    ideal = _dcg(sorted(grades.values(), reverse=True))
    return _dcg([grades.get(name, 0) for name in ranking]) / ideal if ideal else 0.0


def _dcg(gains: Sequence[int]) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains[:CUTOFF], 1))


def reciprocal_rank(ranking: Sequence[str], grades: Mapping[str, int]) -> float:
    """1 / the rank of the first answer among the first ten; 0.0 if there is none.  Its mean is MRR@10."""
    return next((1 / rank for rank, name in enumerate(ranking[:CUTOFF], 1) if grades.get(name, 0) >= ANSWERS), 0.0)
