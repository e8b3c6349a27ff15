"""`python -m tests.torture.inputs [--only WORD] [--jobs N]`: every malformed input through the real command line.

A line a case: its exit code, its name, the first line of its error, and what is wrong where something is. Needs no
network and no GPU; about half an hour on 2 cores.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.torture import configs, endpoint_answers, model_folders, prompt_sets, resumed, run_folders
from tests.torture.case import Case, Result, typed

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
    arguments = parser.parse_args()
    cases = [case for case in CASES if arguments.only in case.name]
    for template in (resumed.template, run_folders.template, model_folders.template):
        template()  # before there are several threads
    with ThreadPoolExecutor(arguments.jobs) as pool:
        results = [_shown(case, result) for case, result in zip(cases, pool.map(_run, cases), strict=True)]
    wrong, tracebacks = sum(bool(r.faults) for r in results), sum(r.has_traceback for r in results)
    sys.stdout.write(f"{wrong} of them not as they should be\n" if wrong else "")
    sys.stdout.write(f"torture-inputs: inputs={len(results)} tracebacks={tracebacks}\n")
    return 1 if wrong else 0


def _run(case: Case) -> Result:
    with tempfile.TemporaryDirectory(prefix="lidr-torture-") as folder:
        return typed(case, Path(folder))


def _shown(case: Case, result: Result) -> Result:
    line = result.line.encode("ascii", "backslashreplace").decode()
    sys.stdout.write(f"{result.code:>3}  {case.name}  |  {line}\n")
    for fault in result.faults:
        sys.stdout.write(f"     WRONG: {fault}\n")
    sys.stdout.flush()
    return result


if __name__ == "__main__":
    sys.exit(main())
