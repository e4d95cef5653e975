"""The command: what is asked for, and what is said while it runs."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import click

from benchmarks import acceptance, page, tables
from benchmarks.contestants import contestants
from benchmarks.contestants.contestant import Contestant
from benchmarks.contestants.own import default_transport
from benchmarks.runner import Runner
from benchmarks.scale import FULL, QUICK
from benchmarks.scenarios import SCENARIOS

KINDS = {"floors": "floor", "ours": "ours", "peers": "peer"}


class Progress:
    """One line that is written over in a terminal; a line for each scenario elsewhere."""

    def __init__(self) -> None:
        self.in_terminal = sys.stderr.isatty()
        self.started = time.monotonic()
        self.told = ""

    def __call__(self, scenario: str, doing: str) -> None:
        seconds = time.monotonic() - self.started
        if self.in_terminal:
            width = shutil.get_terminal_size().columns - 1
            line = f"{seconds:4.0f} s  {scenario}  {doing}"[:width].ljust(width)
            click.echo(f"\r{line}", nl=not doing, err=True)
        elif not doing or scenario != self.told:
            click.echo(f"{seconds:4.0f} s  {scenario}  {'done' if not doing else 'begun'}", err=True)
        self.told = scenario


def chosen(names: Sequence[str], pythons: Mapping[str, str]) -> dict[str, type[Contestant]]:
    """The contestants that are named, or all that are installed."""
    known = contestants()
    if not names:
        return {name: one for name, one in known.items() if name in pythons or not missing(one)}
    found: dict[str, type[Contestant]] = {}
    for name in names:
        of_name = {
            key: one for key, one in known.items() if key == name or key.startswith(f"{name}[") or one.kind == KINDS.get(name)
        }
        if not of_name:
            raise click.BadParameter(f"{name!r}: --list has those there are", param_hint="--contestant")
        found |= of_name
    return found


def missing(contestant: type[Contestant]) -> list[str]:
    """Packages that are not installed here."""
    found: list[str] = []
    for name in contestant.packages:
        try:
            version(name)
        except PackageNotFoundError:
            found.append(name)
    return found


def listed() -> str:
    lines = ["scenarios:", *(f"  {name:12} {one.title}" for name, one in SCENARIOS.items()), "", "contestants:"]
    for name, one in contestants().items():
        lacks = missing(one)
        lines.append(f"  {name:36} {one.kind:6} {one.protocol:9} {'lacks ' + ', '.join(lacks) if lacks else ''}".rstrip())
    return "\n".join(lines)


def parsed_pythons(given: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for entry in given:
        name, _, path = entry.partition("=")
        if name not in contestants() or not Path(path).exists():
            raise click.BadParameter(f"{entry!r}: write NAME=PATH, a contestant and its interpreter", param_hint="--python")
        found[name] = path
    return found


@click.command(context_settings={"max_content_width": 100})
@click.option("--quick", is_flag=True, help="All scenarios in less than two minutes, with few rounds.")
@click.option("--scenario", "scenarios", multiple=True, type=click.Choice([*SCENARIOS]), help="Only this; may be given again.")
@click.option(
    "--contestant",
    "names",
    multiple=True,
    help="Only this, or floors, ours, peers, core, langchain, llamaindex; may be given again.",
)
@click.option("--rounds", type=click.IntRange(1), help="Turns of each contestant in a scenario.")
@click.option(
    "--python", "pythons", multiple=True, metavar="NAME=PATH", help="A contestant's own interpreter, where pins clash."
)
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write the results there.")
@click.option(
    "--read", type=click.Path(exists=True, path_type=Path), help="Show results from such a file, and measure nothing."
)
@click.option("--svg", type=click.Path(file_okay=False, path_type=Path), help="Write the charts into this folder.")
@click.option("--write", type=click.Path(exists=True, path_type=Path), help="Put figures and charts on this page.")
@click.option("--list", "list_only", is_flag=True, help="Say what there is to run.")
def main(
    *,
    quick: bool,
    scenarios: Sequence[str],
    names: Sequence[str],
    rounds: int | None,
    pythons: Sequence[str],
    json_path: Path | None,
    read: Path | None,
    svg: Path | None,
    write: Path | None,
    list_only: bool,
) -> None:
    """Measure rerankkit beside its peers and beside what the wire allows.

    Services are on loopback, in a process of their own; each contestant has a process, and they take turns, in another
    order each round. Tables and what is promised go to the standard output. Read ratios: what else the machine does is in
    all figures, and its load is stated with them. Nothing here passes or fails but the lines at the end.

    \b
    python -m tests.benchmarks --quick
    python -m tests.benchmarks --scenario burst --contestant core --contestant floors
    python -m tests.benchmarks --write docs/performance.md
    """
    if list_only:
        click.echo(listed())
        return
    if read:
        results = json.loads(read.read_text("utf-8"))
    else:
        scale = QUICK if quick else FULL
        scale = replace(scale, rounds=rounds, cold_rounds=rounds) if rounds else scale
        by_name = parsed_pythons(pythons)
        scale = replace(scale, everyone=scale.everyone or bool(names))
        with Runner(chosen(names, by_name), scale, by_name, Progress()) as runner:
            results = runner.run(scenarios or [*SCENARIOS])
    if json_path:
        json_path.write_text(json.dumps(results, indent=1), "utf-8")
    if svg:
        svg.mkdir(parents=True, exist_ok=True)
        for name, chart in page.charts(results).items():
            (svg / f"{name}.svg").write_text(chart, "utf-8")
    if write:
        page.write(results, write)
    click.echo(tables.report(results, acceptance.lines(results, default_transport())))
