"""Faults that are raised within a run: memory that runs out, clocks that jump."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import torch

from tests.torture import fault
from tests.torture.fault import Fault, a_folder, judged

_ENGINE, _BUDGET, _ELSE = (
    r"engine\.batch_size: memory ran out",
    r"token_budget: memory ran out",
    "out of memory",
)
PLACES = {
    "reading prompts": ("lidr.prompts.select", 1, _ELSE),
    "loading the engine's model": ("lidr.models.load_model", 1, _ELSE),
    "answering M_0's benchmark": ("lidr.engines.decoder.Decoder.step", 3, _ENGINE),
    "answering prompts": ("lidr.engines.decoder.Decoder.step", 60, _ENGINE),
    "reading a prompt": ("lidr.engines.decoder.Decoder.admit", 3, _ENGINE),
    "filtering pairs": ("lidr.synthesis.filters.Filters.judge", 3, _ELSE),
    "loading the policy": ("lidr.training.policy.load_model", 1, _ELSE),
    "the reference's pass": ("lidr.training.reference.response_log_probs", 1, _BUDGET),
    "a forward": ("lidr.training.module.response_log_probs", 1, _BUDGET),
    "a backward": ("torch.Tensor.backward", 1, "memory"),
    "a later backward": ("torch.Tensor.backward", 2, "memory"),
    "an optimizer's step": ("torch.optim.AdamW.step", 1, "memory"),
    "a checkpoint": ("pytorch_lightning.Trainer.save_checkpoint", 1, "memory"),
    "saving the model": ("lidr.training.saving.save_full", 1, _ELSE),
    "scoring": ("lidr.evaluation.run.score", 1, _ELSE),
    "drawing the report": ("lidr.report.figures.draw", 1, _ELSE),
}  # fmt: skip
_ERRORS: dict[str, Callable[[], Exception]] = {
    "the host's": lambda: MemoryError(),
    "a GPU's": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore."),
    "PyTorch's on a CPU": lambda: RuntimeError(
        "DefaultCPUAllocator: can't allocate memory: you tried to allocate"
    ),
}


def memory(_: int) -> Iterator[Fault]:
    """Memory that runs out in every part of a run, in the words of the host and of PyTorch."""
    for place, (target, call, says) in PLACES.items():
        for whose, error in list(_ERRORS.items())[: 3 if says in (_ENGINE, _BUDGET) else 1]:
            with a_folder() as folder:
                met = fault.run(folder, before=lambda t=target, c=call, e=error: _raise_at(t, c, e))  # type: ignore[misc]
                yield judged(f"{whose} memory runs out: {place}", folder, met, says)


def _raise_at(target: str, call: int, error: Callable[[], Exception]) -> None:
    """Has the n-th call of a function fail, for the rest of this process."""
    owner, _, name = target.rpartition(".")
    holder: Any = _found(owner)
    real, calls = getattr(holder, name), itertools.count(1)

    def failing(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == call:
            raise error()
        return real(*args, **kwargs)

    setattr(holder, name, failing)


def _found(dotted: str) -> Any:
    from pkgutil import resolve_name

    return resolve_name(dotted)


class Clock:
    """A clock that another one is put on: `shift` says by how much at every reading."""

    def __init__(self, real: Callable[[], float], shift: Callable[[float], float]) -> None:
        self.real, self.shift = real, shift

    def __call__(self) -> float:
        return self.shift(self.real())


def _jumping(size: float) -> Callable[[float], float]:
    drawn = random.Random(0)
    return lambda now: now + drawn.choice((-size, 0.0, size))


def _standing() -> Callable[[float], float]:
    first: list[float] = []

    def shift(now: float) -> float:
        first.append(now)
        return first[0]

    return shift


def _leaping(step: float) -> Callable[[float], float]:
    """Forward by `step` seconds at every reading, as a machine that is put to sleep again and again."""
    leaps = itertools.count()
    return lambda now: now + step * next(leaps)


_CLOCKS: dict[str, tuple[tuple[str, ...], Callable[[], Callable[[float], float]]]] = {
    "the time of day jumps by a day": (("time",), lambda: _jumping(86_400.0)),
    "the time of day jumps by thirty years": (("time",), lambda: _jumping(9.5e8)),
    "the time of day stands still": (("time",), _standing),
    "the time of day is 1970": (("time",), lambda: lambda now: 1.0),
    "the machine sleeps an hour at every look": (
        ("monotonic", "perf_counter", "time"),
        lambda: _leaping(3600.0),
    ),
    "every clock stands still": (("monotonic", "perf_counter", "time"), _standing),
    "the performance counter goes back": (("perf_counter",), lambda: _jumping(100.0)),
}


def clocks(_: int) -> Iterator[Fault]:
    """Clocks that jump back and forward, or stand still: nobody need notice, and the files are the same."""
    for name, (read, shift) in _CLOCKS.items():
        with a_folder() as folder:
            met = fault.run(folder, before=lambda r=read, s=shift: _set(r, s))  # type: ignore[misc]
            yield judged(name, folder, met, "nothing", may_pass=True)


def _set(read: tuple[str, ...], shift: Callable[[], Callable[[float], float]]) -> None:
    for name in read:
        patch.object(time, name, Clock(getattr(time, name), shift())).start()
