"""Group G: nothing that is read is run."""

from __future__ import annotations

import ast
import pickle
from pathlib import Path

import pytest

import rerankkit
from integration.reliability.faults import (
    Status,
)
from integration.reliability.keyed import ADAPTERS
from integration.reliability.rows import row
from integration.reliability.trial import SOON, Trial
from rerankkit import (
    RerankError,
)

G12 = row("G12", "a reply or a file that would be code", "replies are read as JSON; nothing here unpickles, evaluates or runs")
FORBIDDEN = {"pickle", "marshal", "shelve", "dill", "jsonpickle", "xml", "ctypes"}
CALLS = {"eval", "exec", "compile", "__import__", "loads_pickle", "unsafe_load", "full_load", "load_all", "system", "popen"}
SOURCES = sorted(path for package in (rerankkit, *ADAPTERS) for path in Path(str(package.__file__)).parent.rglob("*.py"))


def named(node: ast.AST) -> str:
    """What a call calls, without where that is found."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


@G12
@pytest.mark.parametrize("path", SOURCES, ids=lambda path: "/".join(path.parts[-2:]))
def test_no_module_unpickles_evaluates_or_runs_anything(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            assert not FORBIDDEN & {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert (node.module or "").partition(".")[0] not in FORBIDDEN
        elif isinstance(node, ast.Call):
            name, owner = named(node.func), named(getattr(node.func, "value", ast.Pass()))
            assert name not in CALLS or (owner, name) == ("re", "compile"), f"line {node.lineno}"
            assert not (owner == "yaml" and name == "load"), f"line {node.lineno}"
            shell = [keyword.arg for keyword in node.keywords if keyword.arg == "shell"]
            assert not shell, f"line {node.lineno}"


PICKLED = pickle.dumps({"results": [{"index": 0, "relevance_score": 0.5}]})
YAML = b"results:\n- {index: 0, relevance_score: 0.5}\ndata: !!python/object/apply:os.getpid []\n"


@G12
@pytest.mark.parametrize("body", [PICKLED, YAML, b"{'results': []}", b"results=[]"], ids=["pickle", "YAML", "Python", "form"])
@pytest.mark.parametrize("status", [200, 400])
def test_a_reply_that_is_no_json_is_an_error(trial: Trial, body: bytes, status: int) -> None:
    trial.stage.play(Status(status, {"Content-Type": "application/x-yaml"}, body))
    assert isinstance(trial(retry=SOON).error, RerankError)
