"""Mutation testing of what must not be wrong: retries, the deadline, the checks of replies, merging, and redaction.

    python -m tests.mutation                        # from the checkout's root: all of it, about a quarter of an hour
    python -m tests.mutation retry _engine          # these modules
    python -m tests.mutation _engine:attempt,merge  # these functions of one

A mutant is a module with one small change (mutants.py says which). It meets the tests that run the changed line, quickest
first, in a forked child (runner.py): it is killed once one of them fails or does not end. Those that survive for a reason
are listed in survivors.toml. Needs a system that forks, and what the extras `all` and `test` install.
"""

from __future__ import annotations

import argparse
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from tests.mutation.mutants import Mutant, mutants
from tests.mutation.runner import Collected, collect

PACKAGE = Path(__file__).parents[2] / "core" / "rerankkit"
KNOWN = Path(__file__).parent / "survivors.toml"

REPLIES = (
    "parse_response",
    "error_message",
    "error_class",
    "is_retryable",
    "retry_after",
    "request_id",
    "mask",
    "authenticate",
)
TARGETS: Mapping[str, tuple[str, ...]] = {  # patterns of functions and classes, by module; none: all of it
    "retry": (),
    "deadline": (),
    "_deadline_stream": (),
    "_io": (),
    "provider": ("check_results", "check_echo", "_letters", "_text", "Batch.halves", "Reply.after", "Provider.check_query"),
    "_parsing": (),
    "_content": (),
    "_engine": (),
    "_secret": (),
    "service": (),
    "_kendra_service": (*(f"KendraService.{name}" for name in (*REPLIES, "error", "forget_credentials")), "error_type"),
    "providers/_keyed": (*(f"KeyedProvider.{name}" for name in REPLIES),),
    "providers/cohere": (*(f"Cohere.{name}" for name in REPLIES), "_Cohere*", "_spans", "_checked_span", "_tokens"),
    "providers/voyage": (*(f"Voyage.{name}" for name in REPLIES), "_Voyage*", "_listed"),
    "providers/pinecone": (*(f"Pinecone.{name}" for name in REPLIES), "_Pinecone*"),
    "providers/kendra": (*(f"Kendra.{name}" for name in REPLIES), "_Rescore*", "_positions"),
}
TESTS = (
    *(
        f"tests/unit/test_{name}.py"
        for name in (
            *("content", "deadline", "engine", "error_replies", "input", "io", "kendra", "network", "planning"),
            *("providers", "replies", "retry", "secret"),
        )
    ),
    *(f"tests/contract/test_{name}.py" for name in ("errors", "ranking", "replies")),
    "tests/integration/test_retries.py",
)


def main() -> None:
    options = _options()
    chosen = list(_chosen(options.targets))
    survivors: list[Mutant] = []
    collect(options.tests, lambda collected: survivors.extend(_survivors(chosen, collected, options.seconds)))
    sys.exit(_report(chosen, survivors))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m tests.mutation", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("targets", nargs="*", default=list(TARGETS), metavar="module[:function,...]")
    parser.add_argument("--tests", nargs="+", default=TESTS, metavar="PATH", help="files or folders of tests to run")
    parser.add_argument("--seconds", type=float, default=30, help="of tests to run for one mutant at most (30)")
    return parser.parse_intermixed_args()


def _chosen(targets: list[str]) -> Iterator[Mutant]:
    for target in targets:
        module, _, functions = target.partition(":")
        wanted = tuple(functions.split(",")) if functions else TARGETS[module]
        name = f"rerankkit.{module}".replace("/", ".")
        file = _file(name)
        yield from (
            mutant
            for mutant in mutants(name, file.read_text("utf-8"), str(file))
            if not wanted or any(fnmatchcase(mutant.name, pattern) for pattern in wanted)
        )


def _file(module: str) -> Path:
    return PACKAGE.joinpath(*module.split(".")[1:]).with_suffix(".py")


def _survivors(chosen: list[Mutant], collected: Collected, seconds: float) -> Iterator[Mutant]:
    """The mutants that no test notices, told as they are found."""
    print(f"{len(chosen)} mutants; finding out which tests run which lines ...", flush=True)
    trace = collected.traced(mutant.code.co_filename for mutant in chosen)
    print(f"{len(trace.seconds)} tests, {sum(trace.seconds.values()):.0f} s; left out as they fail: {sorted(trace.failed)}")
    started = time.monotonic()
    for number, mutant in enumerate(chosen, 1):
        tests = trace.chosen(mutant, seconds)
        if not collected.notice(mutant, trace, tests):
            print(f"survived {len(tests)} tests: {mutant}", flush=True)
            yield mutant
        if number % 100 == 0:
            print(f"{number} of {len(chosen)}, {time.monotonic() - started:.0f} s", flush=True)


def _report(chosen: list[Mutant], survivors: list[Mutant]) -> int:
    """A table by module, and how many survivors there are that have no reason to be."""
    reasons = tomllib.loads(KNOWN.read_text("utf-8"))
    print("\n\n| module | mutants | killed | survived, with a reason | without | killed |\n|---|---|---|---|---|---|")
    for module in dict.fromkeys(mutant.module for mutant in chosen):
        _print_row(f"`{module}`", *(_of(module, some) for some in (chosen, survivors)), reasons)
    _print_row("all", chosen, survivors, reasons)
    print("\n| survivor | reason |\n|---|---|")
    for mutant in survivors:
        print(f"| `{mutant}` | {_reason(mutant, reasons) or 'none known'} |")
    return int(not all(_reason(mutant, reasons) for mutant in survivors))


def _of(module: str, some: list[Mutant]) -> list[Mutant]:
    return [mutant for mutant in some if mutant.module == module]


def _reason(mutant: Mutant, reasons: Mapping[str, Mapping[str, str]]) -> str | None:
    return reasons.get(mutant.module, {}).get(f"{mutant.name}: {mutant.change}")


def _print_row(title: str, made: list[Mutant], survivors: list[Mutant], reasons: Mapping[str, Mapping[str, str]]) -> None:
    known = sum(bool(_reason(mutant, reasons)) for mutant in survivors)
    killed = len(made) - len(survivors)
    share = 100 * killed / max(1, len(made))
    print(f"| {title} | {len(made)} | {killed} | {known} | {len(survivors) - known} | {share:.1f} % |")


if __name__ == "__main__":
    main()
