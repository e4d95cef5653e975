"""Group G: nothing that is read is run."""

from __future__ import annotations

import ast
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

import rerankkit
from integration.reliability.faults import Status
from integration.reliability.keyed import ADAPTERS
from integration.reliability.rows import row
from integration.reliability.trial import SOON, Trial
from rerankkit import RerankError

G12 = row("G12", "a reply or a file that would be code", "replies are read as JSON; nothing here unpickles, evaluates or runs")
FORBIDDEN = {"pickle", "marshal", "shelve", "dill", "jsonpickle", "xml", "ctypes"}
CALLS = {"eval", "exec", "compile", "__import__", "loads_pickle", "unsafe_load", "full_load", "load_all", "system", "popen"}
SOURCES = sorted(path for package in (rerankkit, *ADAPTERS) for path in Path(str(package.__file__)).parent.rglob("*.py"))


def named(node: ast.AST) -> str:
    """What a call calls, without where that is found."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


@G12
def test_no_module_unpickles_evaluates_or_runs_anything() -> None:
    assert [where for path in SOURCES for where in running(path)] == []


def running(path: Path) -> Iterator[str]:
    """Where a module could make data into code."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if _imports(node) & FORBIDDEN or (isinstance(node, ast.Call) and _runs(node)):
            yield f"{path}:{node.lineno}"


def _imports(node: ast.AST) -> set[str]:
    """The packages that *node* imports from."""
    if isinstance(node, ast.Import):
        return {alias.name.partition(".")[0] for alias in node.names}
    return {(node.module or "").partition(".")[0]} if isinstance(node, ast.ImportFrom) else set()


def _runs(call: ast.Call) -> bool:
    name, owner = named(call.func), named(getattr(call.func, "value", ast.Pass()))
    if any(keyword.arg == "shell" for keyword in call.keywords):
        return True
    return (name in CALLS and (owner, name) != ("re", "compile")) or (owner, name) == ("yaml", "load")


@pytest.mark.parametrize(
    "source", ["import pickle", "from marshal import loads", "eval('1')", "yaml.load(text)", "run(command, shell=True)"]
)
def test_code_that_does_is_found(source: str, tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(source, "utf-8")
    assert list(running(module)) == [f"{module}:1"]


PICKLED = pickle.dumps({"results": [{"index": 0, "relevance_score": 0.5}]})
YAML = b"results:\n- {index: 0, relevance_score: 0.5}\ndata: !!python/object/apply:os.getpid []\n"


@G12
@pytest.mark.parametrize("body", [PICKLED, YAML, b"{'results': []}", b"results=[]"], ids=["pickle", "YAML", "Python", "form"])
@pytest.mark.parametrize("status", [200, 400])
def test_a_reply_that_is_no_json_is_an_error(trial: Trial, body: bytes, status: int) -> None:
    trial.stage.play(Status(status, {"Content-Type": "application/x-yaml"}, body))
    assert isinstance(trial(retry=SOON).error, RerankError)
