"""`python -m tests.torture.inputs [--only WORD] [--jobs N] [--fork]`: every malformed input through the command line.

A line a case: its exit code, its name, the first line of its error, and what is wrong where something is. Needs no
network and no GPU. Each case is a process of its own, as when it is typed: about 40 minutes on 2 free cores. With
`--fork` the processes are copies of one that has imported everything: the same commands, in a few minutes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from tests.torture import configs, endpoint_answers, forked, model_folders, prompt_sets, resumed, run_folders
from tests.torture.case import Case, Result, judged, show, typed
from tests.torture.started import warm_up

CASES: list[Case] = [
    *prompt_sets.CASES,
    *configs.CASES,
    *run_folders.CASES,
    *endpoint_answers.CASES,
    *model_folders.CASES,
    *resumed.CASES,
]


def main() -> int:
    """Runs the campaign; 1 where an input is not handled as it should be."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture.inputs")
    parser.add_argument("--only", default="", help="cases with this word in their name")
    parser.add_argument("--jobs", type=int, default=2, help="cases at the same time")
    parser.add_argument("--fork", action="store_true", help="one after the other, from one process")
    arguments = parser.parse_args()
    cases = [case for case in CASES if arguments.only in case.name]
    for template in (prompt_sets.base, resumed.template, run_folders.template, model_folders.template):
        template()  # before there are several threads: one of them alone can have Hydra
    results = list(_forked(cases) if arguments.fork else _side_by_side(cases, arguments.jobs))
    wrong, tracebacks = sum(bool(r.faults) for r in results), sum(r.has_traceback for r in results)
    sys.stdout.write(f"inputs={len(results)} lost={wrong} tracebacks={tracebacks}\n")
    return 1 if wrong else 0


def _side_by_side(cases: Sequence[Case], jobs: int) -> Iterator[Result]:
    with ThreadPoolExecutor(jobs) as pool:
        for case, result in zip(cases, pool.map(lambda case: _in_a_folder(case, typed), cases), strict=True):
            yield _shown(case, result)


def _forked(cases: Sequence[Case]) -> Iterator[Result]:
    warm_up()
    for case in cases:
        yield _shown(case, _in_a_folder(case, _copied))


def _in_a_folder(case: Case, act: Callable[[Case, Path], Result]) -> Result:
    with tempfile.TemporaryDirectory(prefix="lidr-torture-") as folder:
        return act(case, Path(folder))


def _copied(case: Case, folder: Path) -> Result:
    """The case in a copy of this process."""
    with ExitStack() as stack:
        given = case.prepare(folder, stack)
        return judged(case, *forked.typed(given.words, given.cwd or folder, given.variables))


def _shown(case: Case, result: Result) -> Result:
    show(result.code, case.name, result.line, result.faults)
    return result


if __name__ == "__main__":
    sys.exit(main())
