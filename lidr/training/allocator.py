"""Allocators, told to keep memory that is about to be needed again in other sizes."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # glibc's malloc.h
_KEPT = 2**31 - 1
_CUDA_SETTINGS = "PYTORCH_CUDA_ALLOC_CONF"


def keep_freed_memory() -> bool:
    """Keeps freed memory in the process, where the C library is glibc; returns whether it is.

    By default what the backward frees goes back to the system, and the next forward gets it again page by page,
    each one a fault. Peak memory stays as it is.
    """
    name = ctypes.util.find_library("c")
    if sys.platform != "linux" or name is None:
        return False
    mallopt = getattr(ctypes.CDLL(name), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP_MAX, 0) and mallopt(_TRIM_THRESHOLD, _KEPT))


def grow_segments() -> None:
    """CUDA's memory in segments that grow, since every micro-batch has a length of its own.

    Else PyTorch's allocator keeps blocks of all lengths it has seen and asks the driver for more, which waits for the
    device. What the user has set in the environment stands. Has an effect before CUDA's first use in the process.
    """
    os.environ.setdefault(_CUDA_SETTINGS, "expandable_segments:True")
