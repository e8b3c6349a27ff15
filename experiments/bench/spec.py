"""What one measured process is told, and what it hands back: plain values, as JSON files."""

from __future__ import annotations

import ctypes
import gc
import json
import resource
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook


@dataclass(frozen=True)
class Setting:
    """What all contestants of a case share.

    Attributes:
        model: folder of the model both sides load.
        system_prompt: first turn of every prompt, or None.
        precision: bf16 is fp32 weights with bf16 autocast (under LoRA: frozen base in bf16), on both sides.
        pairs_per_step: pairs of an optimizer step.
        warmup: optimizer steps of the measured training that are not counted.
        lora: rank 16 on all linear layers instead of full parameters.
    """

    model: str
    precision: str
    pairs_per_step: int
    system_prompt: str | None = None
    max_length: int = 1024
    device: str = "cpu"
    threads: int = 2
    warmup: int = 0
    lora: bool = False
    lr: float = 1e-6
    beta: float = 0.1
    alpha: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class RunSpec:
    """One process.

    Attributes:
        check: pairs of a single step, trained first for the losses and to warm up; None for none.
        check_tokens: its chosen responses' tokens, end of turn included.
        pairs: the pairs that are trained and measured.
        defaults: TRL as it comes, instead of tuned.
        per_device: TRL's pairs a forward pass.
        overrides: lidr's configuration.
    """

    setting: Setting
    pairs: str
    folder: str
    check: str | None = None
    check_tokens: int = 0
    defaults: bool = False
    per_device: int = 1
    overrides: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class FirstStep:
    """The first optimizer step, with the weights both sides start from.

    nll: sum of -log pi(y_w|x) over the pairs / sum of |y_w|; TRL's is worked out from its logged log-probs.
    nll_by_language: lidr's only: its mean per language of -log pi(y_w|x) * pairs / sum of |y_w|.
    """

    total: float
    dpo: float
    nll: float
    grad_norm: float
    tokens: int
    nll_by_language: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """What a process measured.

    seconds: wall clock of the counted steps: from the start of the first one, or from the end of the last
        warm-up step, to the end of the last one; loading of batches in between included.
    reference_seconds: the reference's pass over the pairs of the counted steps, where it came before
        (lidr's).
    step_seconds: each counted step.
    tokens: real tokens of the counted steps, a prompt counted once per row.
    peak_bytes: largest memory: resident size of the process, on CUDA the allocator's.
    """

    seconds: float
    reference_seconds: float
    step_seconds: list[float]
    pairs: int
    tokens: int
    peak_bytes: int
    check: FirstStep | None
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def with_reference(self) -> float:
        """Seconds with the reference's pass."""
        return self.seconds + self.reference_seconds


class StepClock:
    """Ends of optimizer steps, told by PyTorch itself, so that every trainer is timed by the same clock."""

    def __enter__(self) -> StepClock:
        self.ends: list[float] = []
        self._handle = register_optimizer_step_post_hook(self._stamp)
        return self

    def __exit__(self, *_: object) -> None:
        self._handle.remove()

    def _stamp(self, *_: object) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.ends.append(time.perf_counter())


def counted(started: float, ends: list[float], warmup: int) -> list[float]:
    """Seconds of each counted step: all of them, or those after `warmup` ones."""
    stamps = [started, *ends]
    return [b - a for a, b in zip(stamps[warmup:], stamps[warmup + 1 :], strict=False)]


def release() -> None:
    """Gives the check's memory back, so that the peak is the measured training's."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):  # glibc keeps freed memory in the process
        libc.malloc_trim(0)


def peak_bytes() -> int:
    """Largest memory of this process so far."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def write_spec(path: Path, spec: RunSpec) -> None:
    """For the process to read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(spec), indent=1), encoding="utf-8")


def read_spec(path: Path) -> RunSpec:
    """What the parent wrote."""
    values = json.loads(path.read_text(encoding="utf-8"))
    return RunSpec(**{**values, "setting": Setting(**values["setting"])})


def write_measured(path: Path, measured: Measured) -> None:
    """Whole or not at all."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
        json.dump(asdict(measured), file)
    Path(file.name).replace(path)


def read_measured(path: Path) -> Measured:
    """What a process handed back."""
    values = json.loads(path.read_text(encoding="utf-8"))
    check = values["check"]
    return Measured(**{**values, "check": FirstStep(**check) if check else None})
