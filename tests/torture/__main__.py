"""`python -m tests.torture`: every campaign, one after the other; the last line adds up theirs."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter

PARTS = ("kills", "faults", "inputs")
_COUNT = re.compile(r"(\w+)=(\d+)")


def main() -> int:
    """1 where a part fails, or ends without its last line."""
    sums, failed = Counter(dict.fromkeys((*PARTS, "lost", "tracebacks"), 0)), False
    for part in PARTS:
        counts, code = _run(part)
        missing = {part, "lost", "tracebacks"} - counts.keys()
        if missing:
            sys.stdout.write(
                f"{part}: ended with exit code {code} and without a last line {part}=<n> lost=<n> ...\n"
            )
        failed |= code != 0 or bool(missing)
        sums.update(counts)
    sys.stdout.write(summary(sums) + "\n")
    return 1 if failed else 0


def summary(sums: Counter[str]) -> str:
    """The campaign's last line."""
    return "torture: " + " ".join(f"{name}={sums[name]}" for name in (*PARTS, "lost", "tracebacks"))


def last_line(text: str) -> dict[str, int]:
    """The counts on the last line of a part's output."""
    lines = text.strip().splitlines() or [""]
    return {name: int(number) for name, number in _COUNT.findall(lines[-1])}


def _run(part: str) -> tuple[dict[str, int], int]:
    """A part's counts and exit code; its output is shown as it comes."""
    last = ""
    command = [sys.executable, "-m", f"tests.torture.{part}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            sys.stdout.write(line)
            sys.stdout.flush()
            last = line if line.strip() else last
    return last_line(last), process.returncode


if __name__ == "__main__":
    sys.exit(main())
