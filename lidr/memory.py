"""Whether an exception says that memory ran out, of the host or of a device."""

from __future__ import annotations

import sys

_WORDS = ("can't allocate memory", "not enough memory", "cannot allocate memory", "out of memory")


def ran_out(error: BaseException) -> bool:
    """Torch says it by a class of its own on a GPU, by the words of a RuntimeError on a CPU."""
    if isinstance(error, MemoryError):
        return True
    torch = sys.modules.get("torch")  # where it is not loaded, nothing of its was raised
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _WORDS)
