"""The clock of the deadline tests takes off what a busy machine costs, and nothing of what a call does."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from helpers import stopwatch
from helpers.stopwatch import Stopwatch


def wait_for_a_processor(threads: Path, **seconds: float) -> None:
    """As the kernel counts it, for each of *threads*."""
    for name, waited in seconds.items():
        (threads / name).mkdir(exist_ok=True)
        (threads / name / "schedstat").write_text(f"7 {int(waited * 1e9)} 1\n")


def test_time_asleep_is_the_calls_own() -> None:
    watch = Stopwatch()
    time.sleep(0.2)
    assert 0.15 < watch.own_seconds() <= watch.seconds()


def test_what_any_thread_waited_meanwhile_is_taken_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopwatch, "PROCESS", tmp_path)
    wait_for_a_processor(tmp_path, first=5.0, ended=1.0)
    watch = Stopwatch()
    wait_for_a_processor(tmp_path, first=5.25, new=0.5)
    (tmp_path / "ended" / "schedstat").unlink()
    assert watch.seconds() - watch.own_seconds() == pytest.approx(0.75, abs=0.1)


def test_of_many_threads_ones_own_waits_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopwatch, "PROCESS", tmp_path)
    monkeypatch.setattr(stopwatch, "THREAD", tmp_path / "own")
    wait_for_a_processor(tmp_path, own=1.0)
    watch = Stopwatch(of_thread=True)
    wait_for_a_processor(tmp_path, own=1.5, other=9.0)
    assert watch.seconds() - watch.own_seconds() == pytest.approx(0.5, abs=0.1)
