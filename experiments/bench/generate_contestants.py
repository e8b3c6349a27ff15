"""Who takes part in `make bench-generate`, when, and the process each run is.

`lidr` and `vllm` are lidr's engines with their defaults, `generate-16` is plain `model.generate` over fixed
batches of 16. After a colon stand lidr's overrides, so that settings can be compared side by side:
`lidr:engine.batch_size=32`; several with `+`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from experiments.bench.contestants import ROOT, TAIL_LINES, RunFailed, environment
from experiments.bench.generate_spec import GenerateSpec, Measured, read_measured, write_spec

LIDR, VLLM, GENERATE = "lidr", "vllm", "generate-"
VLLM_PYTHON = ROOT / ".venv-vllm" / "bin" / "python"
BATCHES = (8, 16, 32, 64)
# The fastest fixed batch, as far as they were compared (docs/engines.md); `--scan` compares all.
BEST: Mapping[str, Mapping[str, int]] = {
    "bf16": {"answers": 64, "translations": 32},
    "fp32": {"answers": 64, "translations": 64},
}


@dataclass(frozen=True)
class Contestant:
    """One of the compared settings; `rounds`: it takes part in the first so many, None for all."""

    name: str
    batch: int | None = None
    overrides: tuple[str, ...] = ()
    rounds: int | None = None

    @property
    def python(self) -> str:
        """The interpreter of its environment."""
        return str(VLLM_PYTHON) if is_vllm(self.name) else sys.executable


def is_vllm(name: str) -> bool:
    """With or without overrides."""
    return name.partition(":")[0] == VLLM


def is_generate(name: str) -> bool:
    """Of any batch size."""
    return name.startswith(GENERATE)


def parse(text: str) -> Contestant:
    """A contestant from the command line.

    Raises:
        SystemExit: there is none of that name.
    """
    name, _, rest = text.partition(":")
    own = tuple(filter(None, rest.split("+")))
    if name == LIDR:
        return Contestant(text, overrides=own)
    if name == VLLM:
        return Contestant(text, overrides=("engine=vllm", *own))
    size = name.removeprefix(GENERATE)
    if is_generate(name) and size.isdecimal() and int(size) > 0 and not own:
        return Contestant(text, batch=int(size))
    raise SystemExit(
        f"{text!r}: contestants are lidr[:key=value+...], vllm[:key=value+...], generate-<batch>"
    )


def defaults(precision: str) -> list[Contestant]:
    """lidr, the best fixed batches, vLLM; the best ones' neighbours in the first round, as a check of the scan."""
    best = set(BEST[precision].values())
    near = {BATCHES[i] for size in best for i in _beside(BATCHES.index(size))} - best
    return [
        parse(LIDR),
        *(parse(f"{GENERATE}{size}") for size in sorted(best)),
        parse(VLLM),
        *(replace(parse(f"{GENERATE}{size}"), rounds=1) for size in sorted(near)),
    ]


def _beside(place: int) -> list[int]:
    return [i for i in (place - 1, place + 1) if 0 <= i < len(BATCHES)]


def vllm_is_there() -> bool:
    """Whether vLLM's environment stands and holds vLLM."""
    if not VLLM_PYTHON.is_file():
        return False
    look = "import importlib.util, sys; sys.exit(importlib.util.find_spec('vllm') is None)"
    return subprocess.run([str(VLLM_PYTHON), "-c", look], check=False).returncode == 0


def execute(spec: GenerateSpec, contestant: Contestant, folder: Path) -> Measured:
    """Runs a spec in a process of its own, so that its peak memory is its own.

    Raises:
        RunFailed: with the tail of its output.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_spec(folder / "spec.json", spec)
    measured = folder / "measured.json"
    measured.unlink(missing_ok=True)
    command = [
        contestant.python,
        "-m",
        "experiments.bench.generate_one",
        str(folder / "spec.json"),
        str(measured),
    ]
    with (folder / "output.txt").open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment(spec.threads), stdout=output, stderr=output
        )
        code, peak = _wait(process)
    if code != 0 or not measured.is_file():
        text = (folder / "output.txt").read_text(encoding="utf-8", errors="replace")
        raise RunFailed(f"exit code {code}\n" + "\n".join(text.splitlines()[-TAIL_LINES:]))
    return replace(read_measured(measured), peak_bytes=peak)


def _wait(process: subprocess.Popen[bytes]) -> tuple[int, int]:
    """Exit code, and the largest resident size (bytes) of the process and of those it waited for itself."""
    try:
        _, status, usage = os.wait4(process.pid, 0)
    except BaseException:
        process.kill()
        process.wait()
        raise
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_maxrss if sys.platform == "darwin" else usage.ru_maxrss * 1024
