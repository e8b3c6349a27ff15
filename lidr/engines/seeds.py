"""A seed of its own for every request, so that a sampled answer does not depend on what is sampled beside it."""

from __future__ import annotations

from hashlib import sha256

_BITS = 63  # fits into a signed 64-bit integer, the narrowest type an engine takes


def request_seed(seed: int, key: str, draw: int = 0) -> int:
    """The seed of a request's `draw`-th answer under the run's seed: 0 to 2^63 - 1, the same on every machine."""
    named = f"{seed}:{key}" if draw == 0 else f"{seed}:{key}\0{draw}"
    digest = sha256(named.encode()).digest()
    return int.from_bytes(digest[:8], "big") >> (64 - _BITS)
