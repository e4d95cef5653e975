"""Fuzz the readers of replies: ``python -m tests.fuzz --minutes 10``, from the root of a checkout.

With atheris (``pip install atheris``; 3.0.0 works with Python 3.11) it is guided by which lines of the package an input
reaches; without, it mutates what services send, by a seed.  A finding is written to a file, to be read again with
``--replay``.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import importlib.util
import json
import os
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))  # where pytest finds the helpers, too

from helpers.json_texts import ODD_VALUES, places, tree_of, written

if TYPE_CHECKING:
    from fuzz.targets import Target

TOKENS = [
    *(b"NaN", b"-Infinity", b"1e999", b"-0", b"true", b"null", b'"0.5"', b"[]", b"{}", b"[" * 40, b'"\\ud800"', b"\\u0000"),
    *(b'"index"', b'"relevance_score"', b'"score"', b'"Score"', b'"DocumentId"', b'"results"', b'"data"', b'"ResultItems"'),
    *(b"\xef\xbb\xbf", b"\xff\xfe", b"\x00", b"\r\n", b"9" * 25, b"9" * 400, b", ", b"#", b":", b"GMT", b"+9999", b"100000"),
    *(b"retry-after: ", b"x-amzn-errortype: ", b"location: ", b'"__type"', b"ThrottlingException", b"<html>"),
]
LONGEST_INPUT = 4_096  # bytes
SECONDS_BETWEEN_LINES = 5.0


class Session:
    """Counts what becomes of inputs, keeps what broke something, and ends when its time is over."""

    def __init__(self, targets: Sequence[Target], seconds: float, folder: Path) -> None:
        self.targets = targets
        self.folder = folder
        self.corpus = folder / "corpus"
        self.corpus.mkdir(parents=True)
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.findings: dict[str, Path] = {}
        self.started = self.told = time.monotonic()
        self.ends = self.started + seconds

    def seeds(self) -> list[bytes]:
        """The first byte chooses the target."""
        return [bytes([number]) + seed for number, target in enumerate(self.targets) for seed in target.seeds]

    def read(self, content: bytes) -> None:
        """Give one input to its target."""
        target = self.targets[content[0] % len(self.targets)]
        try:
            self.outcomes[target.name, target.read(content[1:])] += 1
        except Exception as error:  # noqa: BLE001 -- finding any is what this is for
            self.outcomes[target.name, "finding"] += 1
            self._keep(target, content, error)

    def _keep(self, target: Target, content: bytes, error: Exception) -> None:
        """One input for each place in the code and kind of exception."""
        place = traceback.extract_tb(error.__traceback__)[-1]
        kind = f"{target.name}: {type(error).__name__} in {place.name}, line {place.lineno}"
        if kind not in self.findings:
            self.findings[kind] = self.folder / f"finding-{hashlib.sha256(content).hexdigest()[:12]}"
            self.findings[kind].write_bytes(content)
            print(f"finding: {kind}: {error!s:.200}\n  {self.findings[kind]}", flush=True)

    def is_over(self) -> bool:
        """Whether to stop; now and then this tells how far it is."""
        now = time.monotonic()
        if now - self.told >= SECONDS_BETWEEN_LINES:
            self.told = now
            print(f"{now - self.started:6.0f} s  {self._figures()}", flush=True)
        return now >= self.ends

    def _figures(self) -> str:
        count = self.outcomes.total()
        rate = count / max(0.001, time.monotonic() - self.started)
        kept = max(len(self.seeds()), sum(1 for _ in self.corpus.iterdir()))
        return f"{count:,} executions, {rate:,.0f} a second, corpus {kept:,}, findings {len(self.findings)}"

    def summary(self) -> str:
        columns = ("ok", "ValueError", "finding")
        head = f"{'target':<16}" + "".join(f"{column:>12}" for column in columns)
        lines = [
            f"{target.name:<16}" + "".join(f"{self.outcomes[target.name, column]:>12,}" for column in columns)
            for target in self.targets
        ]
        return "\n".join(["", head, *lines, "", self._figures(), *(f"{kind}: {path}" for kind, path in self.findings.items())])


def fuzz_with_atheris(session: Session, seed: int) -> None:
    """Never returns: libFuzzer would end the process, and this does so before it."""
    atheris = importlib.import_module("atheris")
    for content in session.seeds():
        (session.corpus / hashlib.sha256(content).hexdigest()).write_bytes(content)
    words = session.folder / "words"
    words.write_text("".join(map(_as_word, TOKENS)))

    def one(content: bytes) -> None:
        if content:
            session.read(content)
        if session.is_over():
            finish(session)

    def mutate(content: bytes, most: int, number: int) -> bytes:
        changed = with_another_value(random.Random(number), content) if number % 2 else content
        return atheris.Mutate(content, most) if changed == content else changed[:most]

    options = [f"-seed={seed}", f"-max_len={LONGEST_INPUT}", f"-dict={words}", "-verbosity=0", "-rss_limit_mb=0", "-timeout=60"]
    atheris.Setup([sys.argv[0], *options, str(session.corpus)], one, custom_mutator=mutate)
    atheris.Fuzz()


def _as_word(token: bytes) -> str:
    """A line of libFuzzer's dictionary."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in token[:60]) + '"\n'


def fuzz_by_mutation(session: Session, seed: int) -> None:
    chance = random.Random(seed)
    pool = session.seeds()
    while not session.is_over():
        for _ in range(100):
            session.read(mutated(chance, pool))
    finish(session)


def mutated(chance: random.Random, pool: Sequence[bytes]) -> bytes:
    """One of *pool*, changed as JSON or as bytes."""
    content = bytearray(with_another_value(chance, chance.choice(pool)))
    if chance.random() < 0.5:
        return bytes(content[:LONGEST_INPUT])
    for _ in range(chance.randint(1, 4)):
        start = chance.randint(1, len(content))
        end = min(len(content), start + chance.choice([0, 0, 1, 2, 8, 40]))
        other = chance.choice(pool)
        cut = chance.randrange(len(other))
        content[start:end] = chance.choice(
            [b"", chance.choice(TOKENS), chance.randbytes(chance.randint(1, 4)), other[cut : cut + 20]]
        )
    return bytes(content[:LONGEST_INPUT])


def with_another_value(chance: random.Random, content: bytes) -> bytes:
    """*content* with something else in one place of the JSON in it: bytes alone seldom make another right document."""
    head, brace, body = content.partition(b"{")
    try:
        tree = [tree_of(json.loads(brace + body))]
    except (ValueError, RecursionError):
        return content
    inside, position = chance.choice(list(places(tree)))
    others = [chance.choice(ODD_VALUES), inside[position - 1], chance.randint(-1, 5), chance.random()]
    inside[position] = chance.choice(others)
    return head + written(tree[0]).encode("utf-8", "replace")


def finish(session: Session) -> None:
    print(session.summary(), flush=True)
    os._exit(1 if session.findings else 0)  # libFuzzer is on the stack, and would go on


def load_targets(*, guided: bool) -> list[Target]:
    """The targets; guided, with the package and what it reads dates with made to tell which lines are reached."""
    if not guided:
        return importlib.import_module("fuzz.targets").targets()
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["rerankkit", "email"]):
        return importlib.import_module("fuzz.targets").targets()


def options() -> argparse.Namespace:
    description, _, more = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser("python -m tests.fuzz", description=description, epilog=more)
    parser.add_argument("--minutes", type=float, default=1.0, help="how long to go on (default: 1)")
    parser.add_argument("--seed", type=int, default=1, help="two runs of one seed begin with the same inputs (default: 1)")
    parser.add_argument("--plain", action="store_true", help="mutate by the seed alone, even where atheris is installed")
    parser.add_argument("--folder", type=Path, help="where findings and corpus go, new (default: a temporary folder)")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="read a finding again, and show where it broke something")
    return parser.parse_args()


def main() -> None:
    given = options()
    guided = not given.plain and not given.replay and importlib.util.find_spec("atheris") is not None
    targets = load_targets(guided=guided)
    if given.replay:
        content = given.replay.read_bytes()
        print(targets[content[0] % len(targets)].read(content[1:]))
        return
    folder = given.folder or Path(tempfile.mkdtemp(prefix="rerankkit-fuzz-"))
    session = Session(targets, given.minutes * 60, folder)
    print(
        f"{len(targets)} targets, {'guided by atheris' if guided else 'by mutation'}, seed {given.seed}, into {folder}",
        flush=True,
    )
    (fuzz_with_atheris if guided else fuzz_by_mutation)(session, given.seed)


if __name__ == "__main__":
    main()
