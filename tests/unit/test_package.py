"""What is installed, what it exports, and what importing it brings along."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import langchain_rerankkit
import llamaindex_rerankkit
import rerankkit
from rerankkit import settings
from rerankkit._library import default_transport

ROOT = Path(__file__).parents[2]

EXPORTS = {
    rerankkit: """
        APIConnectionError Account Attempt AuthenticationError BM25 BadRequestError BaseReranker Budget
        BudgetExceededError CacheUse Cached Calibration CircuitBreaker CircuitOpenError Client Cohere
        ConcurrencyLimited ConflictError CreatedPlan DeadlineExceededError Document Ensemble Estimate Fallback
        FirstStage Hedged InvalidRequestError InvalidResponseError Kendra KendraPlans Ledger Limits MemoryStore
        MinScore Model NotFoundError Passthrough PaymentRequiredError PermissionDeniedError Pinecone Plan PlanSummary
        Price Provider ProviderError RankedDocument RateLimitError RateLimited RedisStore RequestTooLargeError
        RerankError RerankRequest RerankResponse Reranker Retry SQLiteStore ServerError Span Threshold Usage Voyage
        Windowed __version__ connect from_config load_config tagged to_config
    """,
    langchain_rerankkit: """
        CohereRerank KendraRerank PineconeRerank RerankCompressor RerankInput RerankRetriever RerankTransformer VoyageRerank
    """,
    llamaindex_rerankkit: "CohereRerank KendraRerank PineconeRerank RerankPostprocessor RerankedNode VoyageRerank",
}


@pytest.mark.parametrize("package", EXPORTS, ids=lambda package: package.__name__)
def test_the_public_names_are_these(package: object) -> None:
    assert sorted(package.__all__) == sorted(EXPORTS[package].split())
    assert all(getattr(package, name) is not None for name in package.__all__)
    assert set(package.__all__) <= set(dir(package))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Jina'"):
        rerankkit.Jina  # noqa: B018 -- looking is the test


def loaded(program: str) -> set[str]:
    """The modules that a program has loaded in the end."""
    code = f"{program}; import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def brought(program: str) -> set[str]:
    """Those at the top level."""
    return {name.partition(".")[0] for name in loaded(program)}


HEAVY = {
    "langchain_core",
    "llama_index",
    "botocore",
    "boto3",
    "numpy",
    "bm25s",
    "starlette",
    "uvicorn",
    "click",
    "opentelemetry",
    "rich",
    "yaml",
}


def test_importing_rerankkit_brings_neither_frameworks_nor_anything_heavy() -> None:
    assert not brought("import rerankkit") & (HEAVY | {"pydantic", "httpx", "httpx2", "aiohttp"})


def test_importing_rerankkit_brings_nothing_that_sends() -> None:
    assert not loaded("import rerankkit") & {"rerankkit._http", "rerankkit._engine", "rerankkit.client", "urllib.request"}


def test_a_client_brings_the_http_library_with_it_so_that_no_call_has_to() -> None:
    library = default_transport()
    assert library not in brought("from rerankkit import Cohere")
    for name in ("Client", "KendraPlans", "connect"):
        assert {library, library.replace("httpx", "httpcore")} <= brought(f"from rerankkit import {name}")


def test_whoever_asks_a_service_waits_for_no_pydantic_whose_core_checks_replies() -> None:
    names = "BM25, Client, Cohere, Kendra, KendraPlans, Pinecone, Voyage, connect"
    found = loaded(f"from rerankkit import {names}; Client(Cohere(api_key='k' * 9)).rerank('q', [])")
    assert {"pydantic_core", "rerankkit._parsing"} <= found
    assert found.isdisjoint({"pydantic", "annotated_types"})


SERVICES = ["cohere", "kendra", "pinecone", "voyage"]

BROUGHT = """
import importlib, sys
def brought(package, name):
    getattr(importlib.import_module(package), name)
    print(*sorted(each for each in sys.modules if each.startswith((package, "rerankkit"))))
"""


def brought_by_each(package: str, *names: str) -> list[set[str]]:
    """Which modules of ours are loaded after each of *names* was asked for."""
    code = BROUGHT + "".join(f"brought({package!r}, {name!r})\n" for name in names)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return [set(line.split()) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("package", "any_reranker", "one_service"),
    [
        ("langchain_rerankkit", "RerankCompressor", "{}Rerank"),
        ("llamaindex_rerankkit", "RerankPostprocessor", "{}Rerank"),
        ("rerankkit.settings", "RerankerSettings", "{}Settings"),
    ],
)
def test_a_class_brings_its_own_service_and_nothing_that_sends(package: str, any_reranker: str, one_service: str) -> None:
    steps = brought_by_each(package, any_reranker, *(one_service.format(service.capitalize()) for service in SERVICES))
    for folder in (package, "rerankkit.settings"):
        found = [[service for service in SERVICES if f"{folder}.{service}" in step] for step in steps]
        assert found == [SERVICES[:count] for count in range(5)]
    assert steps[-1].isdisjoint(f"rerankkit.{name}" for name in ("_library", "_over_httpx", "_http", "_engine"))


def test_the_public_names_of_settings_are_found_and_no_others() -> None:
    assert all(getattr(settings, name) is not None for name in settings.__all__)
    assert set(settings.__all__) <= set(dir(settings))
    with pytest.raises(AttributeError, match="has no attribute 'JinaSettings'"):
        settings.JinaSettings  # noqa: B018 -- looking is the test


@pytest.mark.parametrize(("package", "framework"), [("langchain", "langchain_core"), ("llamaindex", "llama_index.core")])
def test_an_adapter_brings_what_is_asked_for(package: str, framework: str) -> None:
    assert loaded(f"import {package}_rerankkit").isdisjoint({framework, "rerankkit", "pydantic"})
    brought = loaded(f"from {package}_rerankkit import CohereRerank")
    assert framework in brought
    parts = ("client", "_engine", "_http", "config", "resilience")
    assert brought.isdisjoint({f"rerankkit.{name}" for name in parts} | {"langchain_rerankkit.retriever"})


@pytest.mark.parametrize(("package", "framework"), [("langchain", "langchain_core"), ("llamaindex", "llama_index")])
def test_an_adapter_without_its_framework_names_the_extra(package: str, framework: str) -> None:
    code = f"import sys; sys.modules[{framework!r}] = None; from {package}_rerankkit import CohereRerank"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert f"pip install 'rerankkit[{package}]'" in done.stderr.splitlines()[-1]


def test_a_call_brings_only_what_it_needs() -> None:
    program = "import rerankkit; rerankkit.connect('cohere', api_key='k').rerank('q', [])"
    assert not brought(program) & HEAVY
    assert "botocore" not in brought(f"import rerankkit; rerankkit.Kendra({'p' * 36!r}, region='us-east-1')")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT)], check=True, capture_output=True
    )
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.timeout(300)
def test_the_wheel_holds_exactly_the_three_packages(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names}
    info = f"rerankkit-{rerankkit.__version__}.dist-info"
    assert tops == {"rerankkit", "langchain_rerankkit", "llamaindex_rerankkit", info}
    assert {f"{package}/py.typed" for package in tops - {info}} <= set(names)
    assert f"{info}/licenses/LICENSE" in names
    assert {f"rerankkit/cli/sample/{name}" for name in ("passages.jsonl", "queries.jsonl", "qrels.tsv")} <= set(names)
    tracked = {str(path.relative_to(ROOT / "core")) for path in (ROOT / "core" / "rerankkit").rglob("*.py")}
    assert tracked <= set(names)


def test_the_extras_are_these() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert set(extras) == {
        "langchain",
        "llamaindex",
        "kendra",
        "local",
        "emulator",
        "cli",
        "redis",
        "httpx2",
        "aiohttp",
        "otel",
        "all",
        "bench",
        "test",
    }
    assert project["requires-python"] == ">=3.11"
    named = set(extras) - {"all", "bench", "test"}
    assert extras["all"] == ["rerankkit[langchain,llamaindex,kendra,local,emulator,cli,redis,httpx2,aiohttp,otel]"]
    assert named == set(extras["all"][0].partition("[")[2].rstrip("]").split(","))


def test_the_version_is_told() -> None:
    assert rerankkit.__version__.count(".") == 2
    done = subprocess.run([sys.executable, "-m", "rerankkit", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"rerankkit {rerankkit.__version__}"
