"""A seed of its own for every request, so that a sampled answer does not depend on what is sampled beside it."""

from __future__ import annotations

from hashlib import sha256

_BITS = 63  # fits into a signed 64-bit integer, the narrowest type an engine takes


def request_seed(seed: int, key: str) -> int:
    """The seed of the request `key` under the run's seed: 0 to 2^63 - 1, the same on every machine."""
    digest = sha256(f"{seed}:{key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> (64 - _BITS)
