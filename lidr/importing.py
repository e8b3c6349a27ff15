"""Importing large libraries: torch and transformers are 3,000 modules."""

from __future__ import annotations

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing() -> Iterator[None]:
    """Around imports that take seconds: a third less, with what the process takes to end.

    Python's garbage collector looks through everything that is there whenever a part of it is new, so while modules
    are imported it does so again and again, and once more when the process ends. Neither finds anything of use.
    """
    paused = gc.isenabled()
    gc.disable()
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)
    try:
        yield
    finally:
        if paused:
            gc.enable()
