"""One cold start in a process of its own: seconds to import, to make the client, of the first call and the second."""

import sys
import time


def main() -> None:
    module, name, url, framework, imports, core = sys.argv[1:]
    if core:
        import os

        os.sched_setaffinity(0, {int(core)})
    space: dict[str, object] = {}
    started = time.perf_counter()
    exec(framework, space)  # noqa: S102 -- a line of a contestant of ours
    framework_done = time.perf_counter()
    imported: dict[str, float] = {}
    for statement in imports.split("; "):
        exec(statement, space)  # noqa: S102 -- as above
        imported[statement] = time.perf_counter() - framework_done
    resident = memory()

    import json

    from benchmarks.contestants import find

    found = {"framework": framework_done - started, "import": imported[statement], "imported": imported}
    print(json.dumps({**found, "import_memory": resident, **calls(find(module, name), url), "memory": memory()}), flush=True)


def memory() -> int:
    """Bytes that are resident."""
    with open("/proc/self/status") as file:  # noqa: PTH123 -- pathlib would be one more import before the clock
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmRSS:"))


def calls(kind, url):
    import asyncio
    from itertools import pairwise

    from benchmarks.corpus import query, texts

    moments = [time.perf_counter()]
    contestant = kind(url)
    moments.append(time.perf_counter())
    documents = contestant.prepare(texts(10, 1_000))
    with asyncio.Runner() as runner:

        async def acall():
            return await contestant.arerank(query(0), documents)

        moments.append(time.perf_counter())
        for _ in range(2):
            answer = contestant.rerank(query(0), documents) if kind.blocking else runner.run(acall())
            moments.append(time.perf_counter())
        assert len(contestant.pairs(answer)) >= 10, answer
        runner.run(contestant.aclose())
    made, _, first, second = (after - before for before, after in pairwise(moments))
    return {"construct": made, "first": first, "second": second}
