"""Seeds of requests."""

from __future__ import annotations

from lidr.engines.seeds import request_seed


def test_seeds() -> None:
    """`printf 0:1 | sha256sum` begins with ef134f2a180ba05d."""
    assert request_seed(0, "1") == 0xEF134F2A180BA05D >> 1
    seeds = {request_seed(seed, key) for seed in range(10) for key in ("1", "11", "2")}
    assert len(seeds) == 30
    assert all(0 <= seed < 2**63 for seed in seeds)
