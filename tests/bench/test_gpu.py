"""What the GPU benchmark counts, by hand."""

from pathlib import Path

from experiments.bench.gpu import Drawn
from experiments.bench.gpu_model import SHAPES
from lidr.training.shapes import Work


def test_llama3_8b_has_eight_billion_parameters() -> None:
    assert round(SHAPES["llama3-8b"].parameters / 1e9, 2) == 8.03


def test_work_with_and_without_a_shared_prompt() -> None:
    """Prompts of 2 and 1 tokens; responses of 3 and 1, and of 1 and 1: 1 + ... + n pairs of query and key each."""
    drawn = Drawn(Path("pairs.jsonl"), [(2, 3, 1), (1, 1, 1)])
    assert drawn.work(shared=False) == Work(5 + 3 + 2 + 2, 6, 15 + 6 + 3 + 3)
    assert drawn.work(shared=True) == Work(6 + 3, 6, (15 + 3) + (3 + 2))
