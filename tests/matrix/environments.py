"""Environments of the matrix: made, filled, and used."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.matrix.outcomes import Tests, read

ROOT = Path(__file__).parents[2]
PACKAGES = {"langchain": "langchain-core", "llamaindex": "llama-index-core"}
FILES = {
    "LangChain": ("tests/contract/test_langchain*.py", "tests/integration/test_langchain_*.py"),
    "LlamaIndex": ("tests/contract/test_llamaindex*.py", "tests/integration/test_llamaindex_*.py"),
    "both": (
        *("tests/contract/test_adapters.py", "tests/contract/test_adapter_suite.py", "tests/contract/test_consumers.py"),
        *("tests/contract/test_degraded.py", "tests/integration/test_observability_adapters.py"),
    ),
}
WARNINGS = (  # of old versions of the frameworks about themselves; the tests make errors of all others
    "ignore:The 'validate_default' attribute",  # llama-index-core 0.13.0, imported under pydantic 2.12 or later
    "ignore:ServiceManager is deprecated",  # the workflows that come with it
)
EXTRAS = "langchain,llamaindex,kendra,emulator,cli,redis,httpx2,otel"
VERSIONS = "import json, platform, sys; from importlib.metadata import version; "
VERSIONS += "print(json.dumps([platform.python_version(), *map(version, sys.argv[1:])]))"
NEEDED = {  # of the extra `test`: what the files above and the type checkers need
    *("basedpyright", "boto3", "hypothesis", "langchain-classic", "langchain-tests", "mypy", "nest-asyncio"),
    *("opentelemetry-sdk", "pytest", "pytest-randomly", "pytest-timeout", "pytest-xdist", "trio", "trustme", "types-PyYAML"),
}


@dataclass(frozen=True)
class Pins:
    """One combination; "newest" is what the index has and the rest allows."""

    python: str
    langchain: str
    llamaindex: str

    def __str__(self) -> str:
        return f"Python {self.python}, langchain-core {self.langchain}, llama-index-core {self.llamaindex}"

    @property
    def folder(self) -> str:
        return f"py{self.python}-lc{self.langchain}-li{self.llamaindex}"

    def requirements(self) -> list[str]:
        """The frameworks, at these versions."""
        wanted = {"langchain": self.langchain, "llamaindex": self.llamaindex}
        return [f"{PACKAGES[name]}=={version}" for name, version in wanted.items() if version != "newest"]


def needed() -> list[str]:
    """Requirements of the tests that are run, as pyproject.toml has them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    names = {requirement: re.split(r"[\s<>=!~;\[]", requirement, maxsplit=1)[0] for requirement in extra_test(project)}
    return [requirement for requirement, name in names.items() if name in NEEDED]


def extra_test(project: Mapping[str, Mapping[str, list[str]]]) -> list[str]:
    return project["optional-dependencies"]["test"]


class Maker:
    """Makes environments below *folder*, by uv if it is there."""

    def __init__(self, folder: Path, uv: str | None = None) -> None:
        self.folder = folder
        self.uv = uv or shutil.which("uv")
        self.name = "uv" if self.uv else "venv and pip"

    def environment(self, pins: Pins) -> Environment:
        return Environment(pins, self.folder / pins.folder, self.uv)


class Environment:
    """One environment, and what is run in it."""

    def __init__(self, pins: Pins, folder: Path, uv: str | None) -> None:
        self.pins = pins
        self.folder = folder
        self.uv = uv
        self.python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"

    def make(self) -> str:
        """Make and fill it; what went wrong, if anything did."""
        interpreter = found(self.pins.python)
        if interpreter is None:
            return f"there is no Python {self.pins.python} here"
        if not self.python.exists():
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            by_uv = [self.uv, "venv", "-q", "-p", interpreter, str(self.folder)]
            done = run(by_uv if self.uv else [interpreter, "-m", "venv", str(self.folder)])
            if done.returncode:
                return last_line(done)
        pip = [self.uv, "pip", "install", "-qU", "-p", str(self.python)] if self.uv else [*self._pip(), "install", "-qU"]
        done = run([*pip, "-e", f"{ROOT}[{EXTRAS}]", *needed(), *self.pins.requirements()])
        return last_line(done) if done.returncode else ""

    def _pip(self) -> list[str]:
        return [str(self.python), "-m", "pip"]

    def installed(self) -> dict[str, str]:
        """The versions that are really there."""
        done = run([str(self.python), "-c", VERSIONS, *PACKAGES.values()])
        return dict(zip(("python", *PACKAGES), json.loads(done.stdout), strict=True))

    def tests(self, workers: str) -> Tests:
        """The adapters' tests."""
        report = self.folder / "report.xml"
        report.unlink(missing_ok=True)
        files = [str(file) for patterns in FILES.values() for pattern in patterns for file in sorted(ROOT.glob(pattern))]
        options = ["-q", f"-n{workers}", f"--junitxml={report}", *(f"-W{warning}" for warning in WARNINGS)]
        done = run([str(self.python), "-Im", "pytest", *options, *files])
        return read(report, FILES) if report.exists() else Tests({}, {}, [last_line(done)])

    def types(self) -> dict[str, str]:
        """What each type checker says of the files that use every public name; nothing, if it is content."""
        files = [f"tests/typing/{name}_consumer.py" for name in PACKAGES]
        mypy = run(
            [str(self.python), "-m", "mypy", "--follow-imports=silent", "--cache-dir", str(self.folder / "mypy"), *files]
        )
        pyright = run([str(self.python.with_name("basedpyright")), "--pythonpath", str(self.python), *files])
        return {
            name: done.stdout + done.stderr if done.returncode else "" for name, done in (("mypy", mypy), ("pyright", pyright))
        }


def found(version: str) -> str | None:
    """An interpreter of *version* that runs: this one, one on the PATH, or one of pyenv's."""
    kept = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"), reverse=True)
    candidates = (sys.executable, shutil.which(f"python{version}"), *map(str, kept))
    return next((candidate for candidate in candidates if candidate and version_of(candidate) == version), None)


def version_of(interpreter: str) -> str:
    """Nothing, if it does not run: pyenv's shims are there for versions that are not."""
    return run([interpreter, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]).stdout.strip()


def run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Away from this environment, and from whatever it tells Python."""
    clean = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV", "PYTHONHOME"}}
    return subprocess.run(command, cwd=ROOT, env=clean, capture_output=True, text=True, check=False)


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return lines[-1].strip() if lines else f"{done.args[0]} ended with {done.returncode}"
