"""The command, as it is typed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from rerankkit.emulator import Emulator
from rerankkit.emulator.faults import Latency

LINES = "a lost ticket is replaced\n\nthe refund of a ticket\nbicycles\n"


def command(*arguments: str, stdin: str = "", environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rerankkit", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        env={**os.environ, "COLUMNS": "80", **(environment or {})},
    )


def ranked(*arguments: str, **options: Any) -> dict[str, Any]:
    done = command("rerank", *arguments, "--json", **options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


FORMS = {
    "lines": (LINES, "notes.txt"),
    "JSON Lines": ('"a lost ticket is replaced"\n\n{"text": "the refund of a ticket", "n": 1}\n"bicycles"\n', "hits.jsonl"),
    "JSON": ('["a lost ticket is replaced", {"text": "the refund of a ticket"}, "bicycles"]', "hits.json"),
}


@pytest.mark.parametrize(("text", "name"), FORMS.values(), ids=FORMS)
def test_documents_are_read_from_a_file_or_a_pipe_in_every_form(text: str, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    from_file = ranked("refund", str(tmp_path / name))
    assert [result["index"] for result in from_file["results"]] == [1, 0, 2]
    assert from_file == ranked("refund", stdin=text) == ranked("refund", "-", stdin=text)


@pytest.mark.parametrize("text", ["[1] a reference\nanother", '"Hello," he said\nthe rest', "1990\n1991", "{braces}\nx"])
def test_lines_that_only_look_like_json_are_lines(text: str) -> None:
    assert sorted(result["document"] for result in ranked("q", stdin=text)["results"]) == sorted(text.splitlines())


def test_the_table_shows_ranks_scores_and_movement() -> None:
    done = command("rerank", "refund of a ticket", stdin=LINES)
    rows = [line.split() for line in done.stdout.splitlines()[2:]]
    assert [row[:4] for row in rows] == [["1", "0.6595", "2", "↑1"], ["2", "0.1774", "1", "↓1"], ["3", "0.0000", "3", "="]]
    assert done.stdout.splitlines()[0].strip() == "local bm25"
    assert done.stderr == ""


@pytest.mark.parametrize("target", ["cohere", "voyage:rerank-2.5-lite", "pinecone", "kendra"])
def test_any_service_can_be_named(target: str, emulator: Emulator) -> None:
    target = f"kendra:{emulator.plan_id}" if target == "kendra" else target
    found = ranked("refund", "--with", target, "--top-n", "1", stdin=LINES, environment=dict(emulator.environment))
    assert [result["index"] for result in found["results"]] == [1]
    assert found["provider"] == target.partition(":")[0]
    assert found["usage"]["requests"] == 1


def test_options_of_the_service_are_passed_on(emulator: Emulator) -> None:
    documents = '{"title": "refund", "body": "x"}\n{"title": "y", "body": "z"}\n'
    options = ("--with", "cohere", "-o", 'rank_fields=["title", "body"]', "-o", "client_name=trial", "--timeout", "9")
    found = ranked("refund", *options, stdin=documents, environment=dict(emulator.environment))
    assert found["results"][0]["document"] == {"title": "refund", "body": "x"}


def test_warnings_go_to_the_other_stream(emulator: Emulator) -> None:
    documents = "\n".join(f"text {number}" for number in range(30))
    done = command(
        "rerank", "text", "-w", f"kendra:{emulator.plan_id}", stdin=documents, environment=dict(emulator.environment)
    )
    assert "note: documents beyond the first 25, which were not ranked and follow in their order: 5" in done.stderr


def test_a_file_that_is_not_utf8_is_told(tmp_path: Path) -> None:
    (tmp_path / "latin1.txt").write_bytes("café\n".encode("latin-1"))
    done = command("rerank", "q", str(tmp_path / "latin1.txt"))
    assert done.returncode == 1
    assert "latin1.txt is not UTF-8 (byte 0xe9 at offset 3)" in done.stderr


def test_a_byte_order_mark_is_no_part_of_a_document(tmp_path: Path) -> None:
    (tmp_path / "bom.txt").write_text("\ufefffirst\nsecond\n")
    assert ranked("q", str(tmp_path / "bom.txt"))["results"][0]["document"] == "first"


def test_a_wrong_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('"a"\n\n{\n')
    assert "line 3 of" in command("rerank", "q", str(tmp_path / "bad.jsonl")).stderr


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_output_fits_what_the_terminal_can_show(encoding: str) -> None:
    done = command("rerank", "refund", stdin="über\nrefund\n", environment={"PYTHONIOENCODING": encoding})
    assert done.returncode == 0, done.stderr
    assert ("2 ^1" in done.stdout) == (encoding != "utf-8")


def test_it_says_when_someone_else_answers_in_the_services_place(emulator: Emulator) -> None:
    done = command("rerank", "refund", "-w", "cohere", stdin=LINES, environment=dict(emulator.environment))
    assert done.stdout.startswith(f"cohere rerank-v3.5 at {emulator.url}/cohere (")


def test_the_examples_in_the_help_stand_in_lines_of_their_own() -> None:
    lines = [line.strip() for line in command("rerank", "--help").stdout.splitlines()]
    assert 'rerankkit rerank "refund of a lost ticket" notes.txt' in lines
    assert not any("\b" in line or "\\b" in line for line in lines)


@pytest.mark.parametrize("columns", ["40", "60", "160"])
def test_figures_are_not_cut_in_a_narrow_terminal(columns: str) -> None:
    shown = command("models", environment={"COLUMNS": columns}).stdout
    assert "16,384" in shown
    assert "2.00/1k search units" in shown


FALLBACK = """\
type = "fallback"
timeout = 5
rerankers = [{ type = "client", service = "cohere", retry = { attempts = 1 } }, "local:bm25"]
"""


def test_who_ranks_may_be_described_in_a_file(emulator: Emulator, tmp_path: Path) -> None:
    (tmp_path / "rerank.toml").write_text(FALLBACK)
    arguments = ("refund", "--config", str(tmp_path / "rerank.toml"), "-n", "1")
    found = ranked(*arguments, stdin=LINES, environment=dict(emulator.environment))
    assert (found["provider"], found["status"], [result["index"] for result in found["results"]]) == ("cohere", "ok", [1])


def test_it_says_who_failed_and_who_ranked_instead(tmp_path: Path) -> None:
    (tmp_path / "rerank.yaml").write_text(json.dumps(tomllib.loads(FALLBACK)))
    environment = {"CO_API_KEY": "12345678", "CO_API_URL": "http://127.0.0.1:1"}
    done = command("rerank", "refund", "-c", str(tmp_path / "rerank.yaml"), stdin=LINES, environment=environment)
    assert done.returncode == 0
    assert done.stdout.split()[:2] == ["local", "bm25"]
    first, second = done.stderr.splitlines()
    assert first == "note: degraded: local:bm25 answered"
    assert second.startswith("note: cohere:rerank-v3.5 failed: APIConnectionError: cohere: cannot connect to 127.0.0.1:1")


def test_a_described_rerankers_own_timeout_holds_unless_another_is_given(emulator: Emulator, tmp_path: Path) -> None:
    emulator.inject(Latency(service="cohere", seconds=2))
    (tmp_path / "rerank.json").write_text('{"type": "client", "service": "cohere", "timeout": 0.2}')
    arguments = ("rerank", "refund", "-c", str(tmp_path / "rerank.json"))
    own = command(*arguments, stdin=LINES, environment=dict(emulator.environment))
    given = command(*arguments, "--timeout", "0.1", stdin=LINES, environment=dict(emulator.environment))
    assert "did not answer within 0.2 s" in own.stderr
    assert "did not answer within 0.1 s" in given.stderr


@pytest.mark.parametrize(
    ("content", "more", "message"),
    [
        ('type = "fallback"\nrerankers = ["local:bm25", "cohre"]', (), "rerank.toml: rerankers[1]: 'cohre' names no service"),
        (
            'type = "client"\nservice = "cohere"\napi_key = "canary"',
            (),
            "api_key: keys and passwords are not written down",
        ),
        (None, (), "No such file"),
        ('type = "bm25"', ("--with", "cohere"), "--config says who ranks and how: leave out --with, or --config"),
        ('type = "bm25"', ("-o", "x=1"), "--config says who ranks and how: leave out --option, or --config"),
    ],
)
def test_a_mistake_in_a_description_is_explained(
    content: str | None, more: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "rerank.toml").write_text(content)
    done = command("rerank", "q", "--config", str(tmp_path / "rerank.toml"), *more, stdin=LINES)
    assert done.returncode in (1, 2)
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert "canary" not in done.stderr


MISTAKES: list[tuple[tuple[str, ...], str, str]] = [
    (("rerank", "q", "-w", "coher"), LINES, "did you mean 'cohere'"),
    (("rerank", "q", "-w", "cohere"), LINES, "cohere needs a key: set CO_API_KEY or COHERE_API_KEY"),
    (("rerank", " "), LINES, "query is blank"),
    (("rerank", "q", "-n", "0"), LINES, "0 is not in the range x>=1"),
    (("rerank", "q", "-o", "truncation"), LINES, "'truncation' is not NAME=VALUE"),
    (("rerank", "q", "-o", "trunc=1"), LINES, "has no option 'trunc'"),
    (("rerank", "q", "-o", "timeout=1"), LINES, "'timeout' is told with --timeout"),
    (("rerank", "q"), "\n", "must hold a list of documents, it holds none"),
    (("rerank", "q", "--format", "json"), "[1", "not json"),
    (("rerank", "q", "--format", "json"), '{"a": 1}', "must hold a list of documents, it holds one dict"),
    (("rerank", "q", "--format", "jsonl"), '{"a": 1}\n{', "not jsonl"),
    (("rerank", "q"), "[1, 2]", "documents[0] is int, no text"),
    (("rerank", "q", "nowhere.txt"), "", "No such file"),
    (("models", "jina"), "", "is not one of 'cohere'"),
    (
        ("rerank", "q", "-w", "cohere", "-o", "base_url=http://127.0.0.1:1", "-o", "api_key=k", "--timeout", "2"),
        LINES,
        "cannot connect to 127.0.0.1:1",
    ),
]


@pytest.mark.parametrize(("arguments", "stdin", "message"), MISTAKES, ids=[message for _, _, message in MISTAKES])
def test_a_mistake_is_explained_without_a_traceback(arguments: tuple[str, ...], stdin: str, message: str) -> None:
    done = command(*arguments, stdin=stdin)
    assert done.returncode in (1, 2)
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("name", ["", "demo", "rerank", "models", "plans", "serve"])
def test_every_command_explains_itself_within_80_columns(name: str) -> None:
    done = command(*filter(None, [name, "--help"]))
    assert done.returncode == 0
    assert done.stdout.startswith("Usage:")
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert command(*filter(None, [name, "-h"])).stdout == done.stdout


def test_models_lists_every_model_with_limits_and_prices() -> None:
    shown = command("models").stdout
    listed = json.loads(command("models", "--json").stdout)
    assert len(listed) == 22
    for model in listed:
        assert model["name"] in shown
        assert f"{model['limits']['documents']:,}" in shown
        assert model["price"] is None or "2026-11-20" in model["price"]["source"]
    assert {model["service"] for model in json.loads(command("models", "voyage", "--json").stdout)} == {"voyage"}
    assert max(map(len, shown.splitlines())) <= 110


def test_the_demo_runs_without_a_key_a_network_or_much_time() -> None:
    started = time.monotonic()
    done = command("demo")
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - started < 20
    text = done.stdout
    assert "lexical stand-in" in text.replace("\n", " ")
    assert re.search(r"288 calls in [\d.]+ s; the 3 ways gave the same ranking 96 times of 96", text)
    measures = {
        row[0]: float(row[1]) for row in re.findall(r"^(cohere|voyage|pinecone|kendra) +(\d\.\d{3})", text, re.MULTILINE)
    }
    assert set(measures) == {"cohere", "voyage", "pinecone", "kendra"}
    before = re.search(r"^first stage +(\d\.\d{3})", text, re.MULTILINE)
    assert before
    assert all(after > float(before[1]) + 0.05 for after in measures.values())
    assert max(map(len, text.splitlines())) <= 80


def test_the_demo_leaves_out_a_framework_that_is_not_installed(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['llama_index'] = None\n")
    done = command("demo", environment={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Not installed and left out: LlamaIndex (pip install 'rerankkit[all]')") == 1
    assert "192 calls" in done.stdout


def test_the_demo_alone_shows_what_it_can(tmp_path: Path) -> None:
    missing = "import sys; sys.modules.update(dict.fromkeys(('llama_index', 'langchain_core', 'botocore')))\n"
    (tmp_path / "sitecustomize.py").write_text(missing)
    done = command("demo", environment={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert "left out: LangChain, LlamaIndex, Kendra" in done.stdout
    assert re.search(r"^72 calls in [\d.]+ s\.$", done.stdout, re.MULTILINE), "nothing is said of ways that were not tried"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_an_emulator_does_not_outlive_its_parent(how: signal.Signals) -> None:
    program = (
        "from rerankkit.emulator import Emulator; import time; "
        "e = Emulator(); e.start(); print(e._host._process.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    child = int(parent.stdout.readline())
    assert Path(f"/proc/{child}").exists()
    parent.send_signal(how)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 5
    while Path(f"/proc/{child}/stat").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{child}/stat").exists()


def test_serve_prints_what_points_clients_at_it_and_stops_on_ctrl_c() -> None:
    process = subprocess.Popen([sys.executable, "-m", "rerankkit", "serve", "--port", "0"], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    lines = [process.stdout.readline() for _ in range(21)]
    environment = dict(line.removeprefix("export ").strip().split("=", 1) for line in lines if line.startswith("export "))
    assert set(environment) == {
        *("CO_API_URL", "CO_API_KEY", "VOYAGE_BASE_URL", "VOYAGE_API_KEY", "PINECONE_CONTROLLER_HOST", "PINECONE_API_KEY"),
        *("AWS_ENDPOINT_URL_KENDRA_RANKING", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION"),
    }
    for target in ("cohere", "voyage", "pinecone"):
        assert ranked("refund", "-w", target, "-n", "1", stdin=LINES, environment=environment)["results"][0]["index"] == 1
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0
    process.stdout.close()


def test_serve_says_when_its_port_is_taken(emulator: Emulator) -> None:
    port = emulator.url.rpartition(":")[2]
    done = command("serve", "--port", port)
    assert done.returncode == 1
    assert f"port {port} cannot be used" in done.stderr


def test_the_command_without_its_libraries_names_the_extra(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['click'] = None\n")
    done = command("models", environment={"PYTHONPATH": str(tmp_path)})
    assert done.stderr.strip() == "the rerankkit command needs click: pip install 'rerankkit[cli]'"
    assert done.returncode == 1


def test_the_emulator_listens_on_loopback_only(emulator: Emulator) -> None:
    assert emulator.url.startswith("http://127.0.0.1:")
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(f"{emulator.url}/cohere/v2/rerank")


def test_only_the_end_of_a_line_ends_a_document() -> None:
    found = ranked("ferry", stdin='{"text": "a ferry\u2028at noon"}\n{"text": "form\x0cfeed"}\r\n'.replace("\x0c", "\\f"))
    assert [result["document"]["text"] for result in found["results"]] == ["a ferry\u2028at noon", "form\x0cfeed"]


def test_true_and_false_may_be_written_as_in_python(emulator: Emulator) -> None:
    arguments = ("ferry", "--with", "voyage", "-o", "truncation=False", "-o", "api_key=12345678")
    assert ranked(*arguments, stdin="a ferry\n", environment=dict(emulator.environment))["results"][0]["index"] == 0
