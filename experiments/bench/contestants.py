"""Who takes part, and the process each run is.

`trl-default` and `trl-tuned` are TRL; `lidr` is lidr with its defaults. After a colon stand overrides, so
that settings can be compared side by side: `lidr:training.max_length=512`, `trl-tuned:per_device=4`;
several with `+`: `lidr:a=1+b=2`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from experiments.bench.spec import Measured, RunSpec, read_measured, write_spec

ROOT = Path(__file__).resolve().parents[2]
TAIL_LINES = 25


@dataclass(frozen=True)
class Contestant:
    """One of the compared settings."""

    name: str
    is_lidr: bool
    defaults: bool = False
    per_device: int | None = None
    overrides: tuple[str, ...] = ()


def parse(text: str) -> Contestant:
    """A contestant from the command line.

    Raises:
        SystemExit: there is none of that name.
    """
    name, _, rest = text.partition(":")
    own = tuple(filter(None, rest.split("+")))
    if name == "lidr":
        return Contestant(text, is_lidr=True, overrides=own)
    if name == "trl-default" and not own:
        return Contestant(text, is_lidr=False, defaults=True)
    if name == "trl-tuned" and all(o.startswith("per_device=") for o in own):
        per_device = int(own[-1].removeprefix("per_device=")) if own else None
        return Contestant(text, is_lidr=False, per_device=per_device)
    raise SystemExit(f"{text!r}: contestants are trl-default, trl-tuned[:per_device=N], lidr[:key=value+...]")


class RunFailed(Exception):  # noqa: N818
    """A measured process ended badly; the text is the end of what it wrote."""


def execute(spec: RunSpec, is_lidr: bool, timeout: float | None = None) -> Measured:
    """Runs a spec in a process of its own, so that its peak memory is its own.

    Raises:
        RunFailed: with the tail of its output.
    """
    folder = Path(spec.folder)
    write_spec(folder / "spec.json", spec)
    module = "one_run_lidr" if is_lidr else "one_run_trl"
    command = [sys.executable, "-m", f"experiments.bench.{module}", *(str(folder / n) for n in _FILES)]
    with (folder / "output.txt").open("w", encoding="utf-8") as output:
        try:
            code = subprocess.run(
                command,
                cwd=ROOT,
                env=environment(spec.setting.threads),
                stdout=output,
                stderr=output,
                timeout=timeout,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            code = -1
            output.write(f"\nstopped after {timeout:.0f} s\n")
    if code != 0 or not (folder / "measured.json").is_file():
        text = (folder / "output.txt").read_text(encoding="utf-8", errors="replace")
        raise RunFailed(f"exit code {code}\n" + "\n".join(text.splitlines()[-TAIL_LINES:]))
    return read_measured(folder / "measured.json")


_FILES = ("spec.json", "measured.json")


def environment(threads: int) -> dict[str, str]:
    """Of every measured process."""
    return {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "WANDB_MODE": "disabled",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])),
    }
