"""A run of the benchmark, as small as it can be: that figures come out, not which."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import command, tables
from benchmarks.acceptance import lines
from benchmarks.contestants import contestants
from benchmarks.contestants.own import default_transport
from benchmarks.processes import Process, Service, WorkerError
from benchmarks.runner import Runner
from benchmarks.scale import Scale
from benchmarks.scenarios import SCENARIOS

TINY = Scale(
    name="tiny",
    rounds=1,
    patience=60.0,
    sync={2: 2},
    growth=(1, 3),
    cold_rounds=1,
    size=50,
    burst=(5, 3),
    burst_latency=0.01,
    over_limit=2_000,
    per_document=0.0,
    faults=20,
    seeds=(1,),
    tail=12,
    duplicates=12,
    memory=(20, 1_000),
)
CORE = f"core[{default_transport()}]"
NAMES = ("raw socket", CORE, "core, Cached")

linux = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's count of a process's memory is read from /proc")


@linux
def test_each_scenario_has_figures_that_make_sense() -> None:
    chosen = {name: contestants()[name] for name in NAMES}
    with Runner(chosen, TINY, {}, lambda *_: None) as runner:
        results = json.loads(json.dumps(runner.run([*SCENARIOS])))
    assert results["failed"] == {}
    found = {name: one["contestants"] for name, one in results["scenarios"].items()}
    assert {name for name, one in found.items() if CORE in one} == {*SCENARIOS}
    assert 0 < found["sync"]["raw socket"]["figures"]["2"]["median"] < 1
    burst = found["burst"][CORE]["figures"]
    assert (burst["ok"], burst["service"]["requests"], burst["took"] >= 0.01) == (5, 5, True)
    assert found["over_limit"][CORE]["figures"]["sync"]["service"]["requests"] == 2
    assert found["over_limit"]["raw socket"]["figures"]["sync"]["service"]["requests"] == 1
    assert found["faults"][CORE]["figures"]["async"]["service"]["requests"] > 20
    assert found["duplicates"]["core, Cached"]["figures"]["sync"]["service"]["requests"] == 1
    assert found["memory"][CORE]["figures"]["body"] in range(20_000, 20_200)
    assert found["growth"][CORE]["figures"].keys() == {"1", "3"}
    cold = found["cold"][CORE]["figures"]
    assert 0 < cold["imported"]["import rerankkit"] < cold["import"]
    report = tables.report(results, lines(results, default_transport()))
    assert all(f"### {name}:" in report for name in SCENARIOS)


def test_results_are_written_and_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "QUICK", TINY)
    path, folder = tmp_path / "results.json", tmp_path / "charts"
    asked = ["--quick", "--scenario", "burst", "--contestant", "raw socket", "--json", str(path), "--svg", str(folder)]
    measured = CliRunner().invoke(command.main, asked, catch_exceptions=False)
    shown = CliRunner().invoke(command.main, ["--read", str(path)], catch_exceptions=False)
    assert measured.stdout == shown.stdout
    assert "| raw socket |" in shown.stdout
    assert (folder / "burst.svg").read_text().startswith("<svg")


def test_an_order_that_cannot_be_followed_is_told_and_the_process_lives_on() -> None:
    with Service() as service:
        process = Process(contestants()["raw socket"])
        with pytest.raises(WorkerError, match="AttributeError"):
            process.tell("dance")
        process.tell("open", url=f"{service.url}/lane")
        assert process.tell("once", count=2, size=50, blocking=True)["failures"] == {}
        process.close()


def test_a_contestant_that_cannot_start_is_left_out_and_named() -> None:
    chosen = {"raw socket": contestants()["raw socket"]}
    with Runner(chosen, TINY, {"raw socket": "/bin/false"}, lambda *_: None) as runner:
        results = runner.run(["sync"])
    assert results["scenarios"]["sync"]["contestants"] == {}
    assert "its process ended" in results["failed"]["raw socket"]
