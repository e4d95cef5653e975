"""The measuring itself: what is made of figures, not how large they are."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from benchmarks import page, tables
from benchmarks.acceptance import Line, lines
from benchmarks.behaviour import Behaviour, ideal
from benchmarks.chart import Bar, bars
from benchmarks.command import main
from benchmarks.contestants import contestants
from benchmarks.contestants.contestant import Contestant
from benchmarks.contestants.own import default_transport, transports
from benchmarks.corpus import best, texts
from benchmarks.samples import medians, quietest
from benchmarks.scale import FULL, QUICK
from benchmarks.scenarios import SCENARIOS
from benchmarks.service import ranked
from benchmarks.worker import Worker, obey


def sync(**seconds: float) -> dict[str, Any]:
    return {
        name: {"figures": {"100": {"median": value, "p95": value, "computed": value}}, "rounds": []}
        for name, value in seconds.items()
    }


def results(**scenarios: dict[str, Any]) -> dict[str, Any]:
    machine = {"cores": 2, "load_before": 0.5, "load_after": 1.0, "python": "3.11.0", "time": "2026-11-20 12:00"}
    found = {name: {"title": "a title", "seconds": 1.0, "contestants": one} for name, one in scenarios.items()}
    names = {name for one in scenarios.values() for name in one}
    kinds = {name: "ours" if "[" in name else "floor" for name in names}
    base = {"scale": "quick", "machine": machine, "seconds": 2.0, "versions": {}, "failed": {}}
    return {**base, "kinds": kinds, "scenarios": found}


def found(number: int, given: dict[str, Any]) -> dict[str, Line]:
    return {line.promise: line for line in lines(given, "httpx2") if line.number == number}


def test_a_ratio_is_that_of_two_medians_and_held_against_its_limit() -> None:
    given = results(sync=sync(**{"httpx": 0.001, "core[httpx2]": 0.0008, "langchain[httpx2]": 0.0011}))
    core, langchain, llamaindex = found(1, given).values()
    assert (core.measured, core.verdict) == (pytest.approx(0.8), "pass")
    assert (langchain.measured, langchain.verdict) == (pytest.approx(1.1), "MISS")
    assert (llamaindex.measured, llamaindex.verdict) == (None, "not measured")


def test_what_was_not_measured_is_neither_kept_nor_broken() -> None:
    assert {line.verdict for line in lines(results(), "httpx2")} == {"not measured"}


def test_a_burst_is_judged_by_the_fastest_library_of_each_way_and_the_worst_lag() -> None:
    def one(took: float, lag: float, most: int) -> dict[str, Any]:
        return {"figures": {"took": took, "lag_p99": lag, "service": {"most_in_flight": most, "requests": 200}}, "rounds": []}

    contestants = {
        "raw socket": one(0.06, 0.001, 200),
        "core[httpx]": one(0.30, 0.050, 100),
        "core[httpx2]": one(0.08, 0.010, 200),
        "langchain[httpx2]": one(0.09, 0.020, 200),
        "llamaindex[httpx2]": one(0.12, 0.030, 190),
        "voyage SDK": one(0.25, 0.100, 200),
        "in threads": one(1.80, 0.002, 6),
    }
    given = results(burst=contestants)
    given["kinds"] |= {"voyage SDK": "peer", "in threads": "peer"}
    judged = found(3, given)
    assert judged["burst: core[httpx2] / raw socket"].measured == pytest.approx(0.08 / 0.06)
    assert judged["burst: llamaindex[httpx2] / raw socket"].verdict == "MISS"
    assert judged["burst: core[httpx] / raw socket"].measured == pytest.approx(5.0)
    assert judged["burst: calls not in flight at the same time"].measured == 10
    lags = [line.measured for promise, line in judged.items() if "lag" in promise]
    assert lags == [pytest.approx(0.3), pytest.approx(15.0)]


def test_calls_lost_to_faults_are_added_up_over_the_seeds_and_colours() -> None:
    def run(ok: int, took: float, requests: int) -> dict[str, Any]:
        return {"calls": 500, "ok": ok, "took": took, "ideal": 4.0, "service": {"requests": requests}}

    first = {"sync": run(500, 4.2, 600), "async": run(498, 4.4, 650)}
    second = {"sync": run(499, 4.3, 610), "async": run(500, 4.3, 600)}
    judged = list(found(6, results(faults={"core[httpx2]": {"figures": {}, "rounds": [first, second]}})).values())
    assert [line.measured for line in judged[:3]] == [3, pytest.approx(4.3 / 4.0), pytest.approx(1.3)]
    assert [line.verdict for line in judged[:3]] == ["MISS", "pass", "MISS"]


def test_sync_and_async_of_a_split_call_are_held_against_each_other() -> None:
    def colour(took: float) -> dict[str, Any]:
        return {"took": took, "failures": {}, "service": {"requests": 3}}

    figures = {"core[httpx2]": {"sync": colour(0.6), "async": colour(0.5)}, "httpx": {"sync": colour(1.5)}}
    given = results(over_limit={name: {"figures": one, "rounds": []} for name, one in figures.items()})
    assert [(line.measured, line.verdict) for line in found(4, given).values()] == [
        (pytest.approx(0.4), "pass"),
        (3, "pass"),
        (pytest.approx(1.2), "MISS"),
    ]


def test_a_bare_import_and_the_names_that_a_program_needs_are_both_held_against_the_limit() -> None:
    statements = {"import langchain_rerankkit": 0.001, "from langchain_rerankkit import RerankCompressor": 0.02}
    adapter = {"figures": {"import": 0.08, "imported": statements}, "rounds": []}
    core = {"import": 0.2, "imported": {"import rerankkit": 0.09}, "construct": 0.001, "first": 0.006}
    contestants = {"httpx": {"figures": {"import": 0.1}, "rounds": []}, "core[httpx2]": {"figures": core, "rounds": []}}
    judged = found(5, results(cold={**contestants, "langchain[httpx2]": adapter}))
    measured = {promise: (line.measured, line.verdict) for promise, line in judged.items() if line.measured is not None}
    assert measured == {
        "import rerankkit / import httpx": (pytest.approx(0.9), "pass"),
        "with Client and Cohere / import httpx": (pytest.approx(2.0), "MISS"),
        "import langchain_rerankkit, after langchain-core's retrievers": (pytest.approx(1.0), "pass"),
        "from langchain_rerankkit import RerankCompressor, after langchain-core's retrievers": (pytest.approx(20.0), "pass"),
        "make a client": (pytest.approx(1.0), "pass"),
        "the first call": (pytest.approx(6.0), "MISS"),
    }


def test_the_report_has_each_table_the_circumstances_and_what_could_not_run() -> None:
    given = results(sync=sync(**{"raw socket": 0.0001, "httpx": 0.0002, "core[httpx2]": 0.0003}))
    given["failed"] = {"voyage SDK": "ImportError: no voyageai"}
    report = tables.report(given, lines(given, "httpx2"))
    assert "load 0.5 before and 1 after" in report
    assert "| core[httpx2] | 0.30 | 0.30 | 0.30 | 3.00 | 1.50 |" in report
    assert "not run: voyage SDK: ImportError: no voyageai" in report
    assert "| 1.50 | 0.9 | x | MISS |" in report


def test_the_quietest_third_of_the_rounds_counts() -> None:
    samples = [{"median": value} for value in (5.0, 1.0, 9.0, 2.0, 8.0, 3.0)]
    assert medians(quietest(samples, "median")) == {"median": 1.5}


def test_failures_of_all_rounds_are_added_up() -> None:
    assert medians([{"failures": {"A": 1}, "took": 1.0}, {"failures": {"A": 2, "B": 1}, "took": 3.0}]) == {
        "failures": {"A": 3, "B": 1},
        "took": 2.0,
    }


def test_a_chart_is_svg_with_the_longest_bar_for_the_largest_figure() -> None:
    chart = bars("<calls>", [Bar("slow & old", 4_000.0, "peer"), Bar("fast", 1_000.0, "ours")], "ms")
    root = ET.fromstring(chart)  # noqa: S314 -- our own
    space = "{http://www.w3.org/2000/svg}"
    widths = [float(rect.get("width", 0)) for rect in root.iter(f"{space}rect")]
    words = [text.text for text in root.iter(f"{space}text")]
    assert widths[1] == pytest.approx(4 * widths[0], rel=0.01)
    assert words == ["<calls>", "fast", "1,000 ms", "slow & old", "4,000 ms"]


def test_figures_are_written_between_the_marks_of_a_page_and_nowhere_else(tmp_path: Path) -> None:
    path = tmp_path / "performance.md"
    path.write_text(f"before\n\n{page.BEGIN}\nold figures\n{page.END}\n\nafter\n", "utf-8")
    given = results(sync=sync(**{"httpx": 0.0002, "core[httpx2]": 0.0003}))
    page.write(given, path)
    page.write(given, path)
    text = path.read_text("utf-8")
    assert text.startswith(f"before\n\n{page.BEGIN}\n\nMeasured on 2 cores, load 0.5 before")
    assert text.endswith(f"{page.END}\n\nafter\n")
    assert "old figures" not in text
    assert text.count("![") == 1
    assert (tmp_path / "performance-sync.svg").read_text("utf-8").startswith("<svg")


def test_a_page_without_marks_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("no marks", "utf-8")
    with pytest.raises(ValueError, match="lacks the marks"):
        page.write(results(), path)


def test_the_ideal_waits_as_long_as_it_is_asked_to_and_no_longer() -> None:
    assert ideal(Behaviour(latency=0.5), calls=40, at_a_time=10) == pytest.approx(2.0, abs=0.05)
    refused_once = Behaviour(latency=0.5, faults={"429": 0.999_999}, retry_after=3)
    fates = [refused_once.fate(number) for number in range(20)]
    assert set(fates) == {"429"}
    mixed = Behaviour(latency=0.02, faults={"429": 0.1, "503": 0.05, "reset": 0.02})
    share = [mixed.fate(number) for number in range(5_000)].count("429") / 5_000
    assert share == pytest.approx(0.1, abs=0.02)
    # 500 calls of which 83 in 100 succeed need 602 requests: 60 of them wait a second, twenty at a time
    assert 3.3 < ideal(mixed, calls=500, at_a_time=20, draws=20) < 6.0


@pytest.mark.parametrize("protocol", ["cohere", "voyage", "pinecone"])
def test_the_service_ranks_as_the_check_expects(protocol: str) -> None:
    query, documents = "When does ferry number 0 leave the old harbour?", texts(20, 100)
    asked = {"model": "m", "query": query, "documents": documents, "top_n": 3}
    documents_ranked, reply = ranked(protocol, json.dumps(asked).encode())
    body = json.loads(reply.partition(b"\r\n\r\n")[2])
    results = body["results" if protocol == "cohere" else "data"]
    scores = [result["score" if protocol == "pinecone" else "relevance_score"] for result in results]
    assert documents_ranked == 20
    assert [*zip([result["index"] for result in results], scores, strict=True)] == [*best(query, 20, 100, 3)]


class Backwards(Contestant):
    """Ranks the worst first."""

    def rerank(self, query: str, documents: Any) -> Any:
        return [(index, 0.5) for index in reversed(range(len(documents)))]

    def pairs(self, answer: Any) -> Any:
        return answer


def test_a_wrong_answer_is_a_failure_however_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gc.freeze", lambda: None)
    worker = Worker(Backwards)
    worker.open("http://127.0.0.1:1")
    assert worker.once(3, 50, blocking=True)["failures"] == {"benchmarks.WrongAnswerError": 1}
    assert "another order" in obey(worker, '{"order": "serial", "count": 3, "size": 50, "calls": 1}')["error"]


def test_texts_are_as_long_as_asked_and_all_different() -> None:
    found = texts(500, 1_000)
    assert {len(text) for text in found} == {1_000}
    assert len(set(found)) == 500


def test_each_http_library_of_the_client_is_measured_in_each_way_to_use_it() -> None:
    names = {name for name in contestants() if "[" in name}
    assert {"httpx", "httpx2"} <= set(transports())
    assert names == {f"{way}[{name}]" for way in ("core", "langchain", "llamaindex") for name in transports()}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_quick_run_has_what_its_promises_are_about(scenario: str) -> None:
    taking = [name for name, one in contestants().items() if SCENARIOS[scenario].takes(one, QUICK)]
    assert f"core[{default_transport()}]" in taking
    assert set(taking) <= {name for name, one in contestants().items() if SCENARIOS[scenario].takes(one, FULL)}
    assert "pinecone SDK" in taking


def test_what_there_is_can_be_listed() -> None:
    done = CliRunner().invoke(main, ["--list"], catch_exceptions=False)
    assert all(name in done.output for name in (*SCENARIOS, *contestants()))


@pytest.mark.parametrize("wrong", [["--contestant", "nobody"], ["--python", "nobody=x"], ["--scenario", "nothing"]])
def test_a_name_that_is_none_is_told(wrong: list[str]) -> None:
    done = CliRunner().invoke(main, wrong)
    assert done.exit_code == 2
    assert wrong[1] in done.output
