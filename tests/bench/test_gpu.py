"""Counted operations, by hand."""

from experiments.bench.gpu_model import SHAPES, Shape, flops

TINY = Shape(hidden=4, layers=2, heads=2, kv_heads=1, intermediate=8, vocabulary=10)


def test_parameters_of_the_blocks() -> None:
    """A block: q and o 16 each, k and v 8 each, three of 32: 144."""
    assert TINY.body == 2 * 144


def test_llama3_8b_has_eight_billion_parameters() -> None:
    shape = SHAPES["llama3-8b"]
    assert round((shape.body + 2 * shape.hidden * shape.vocabulary) / 1e9, 2) == 8.03


def test_operations() -> None:
    """5 tokens, 3 of them a response: 288 * 5 + 40 * 3 = 1560 a parameter's 6 or 4; attention 6 * 2 * 4 * 25."""
    assert flops(TINY, [(5, 3)], lora=False) == 6 * 1560 + 1200
    assert flops(TINY, [(5, 3)], lora=True) == 4 * 1560 + 1200
