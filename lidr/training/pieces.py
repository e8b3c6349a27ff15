"""Long tensors in pieces, so that what is made of each stays in a cache, or in a bounded amount of memory."""

from __future__ import annotations


def row_pieces(rows: int, width: int, elements: int) -> list[slice]:
    """Consecutive slices of a matrix's rows, of at most so many elements each but of a row at least."""
    size = max(1, elements // width)
    return [slice(start, min(start + size, rows)) for start in range(0, rows, size)]
