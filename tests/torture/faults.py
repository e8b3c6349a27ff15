"""`python -m tests.torture.faults [--only GROUP] [--points N]`: what comes from outside, at every point of a small run.

A fault is put into a small lab run; the run ends in one clear line. Then the fault is mended, the same command is
typed, and the run ends in the files of one that met no fault, with every stage that was finished left as it was.

A line a fault: its exit code, its name, what was said, and what is wrong where something is. The last line counts:
`faults` that were met; `lost`, those after which the same command did not end in the same files; `tracebacks`, those
that showed one. Needs no network and no GPU; file systems are mounted, which takes root, and left out elsewhere.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Callable, Iterator

from tests.torture import fault
from tests.torture.case import show
from tests.torture.fault import Fault
from tests.torture.fault_groups import GROUPS


def main() -> int:
    """Runs the campaign; 1 where a fault is not handled as it should be."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture.faults")
    parser.add_argument(
        "--only", choices=sorted(GROUPS), action="append", help="a kind of fault; several times"
    )
    parser.add_argument("--points", type=int, default=120, help="writes that find no room; 0: every one")
    arguments = parser.parse_args()
    fault.warm()
    started, every, broken = time.monotonic(), [], []
    for name in arguments.only or GROUPS:
        found: list[Fault] = []
        try:
            found.extend(_shown(name, GROUPS[name], arguments.points))
        except Exception:
            traceback.print_exc()
            broken.append(name)
        sys.stdout.write(f"{name}: {len(found)} faults{', then it broke off' * (name in broken)}\n")
        every += found
    wrong, lost = sum(bool(f.faults) for f in every), sum(f.lost for f in every)
    sys.stdout.write(f"{time.monotonic() - started:.0f} s\n")
    sys.stdout.write(f"{wrong} of them not as they should be\n" if wrong else "")
    sys.stdout.write(f"faults={len(every)} lost={lost} tracebacks={sum(f.has_traceback for f in every)}\n")
    return 1 if wrong or broken else 0


def _shown(group: str, make: Callable[[int], Iterator[Fault]], points: int) -> Iterator[Fault]:
    for met in make(points):
        show(met.code, f"{group}: {met.name}", met.line, met.faults)
        yield met


if __name__ == "__main__":
    sys.exit(main())
