import pytest

from lidr.config import Schedule
from lidr.training.schedule import lr_factor


def factors(schedule: Schedule, steps: int, warmup_ratio: float) -> list[float]:
    return [lr_factor(step, steps, schedule, warmup_ratio) for step in range(steps)]


def test_warmup_then_linear_by_hand() -> None:
    """6 steps, warm-up ceil(0.3 * 6) = 2: 1/3, 2/3, then 1, 3/4, 2/4, 1/4."""
    assert factors(Schedule.LINEAR, 6, 0.3) == pytest.approx([1 / 3, 2 / 3, 1, 0.75, 0.5, 0.25])


def test_cosine_by_hand() -> None:
    """4 steps without warm-up: (1 + cos(k pi / 4)) / 2."""
    assert factors(Schedule.COSINE, 4, 0.0) == pytest.approx([1, 0.8535534, 0.5, 0.1464466])


def test_constant_after_warmup() -> None:
    assert factors(Schedule.CONSTANT, 3, 0.1) == pytest.approx([0.5, 1, 1])


@pytest.mark.parametrize("schedule", Schedule)
@pytest.mark.parametrize("ratio", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("steps", [1, 7])
def test_no_step_is_wasted(schedule: Schedule, ratio: float, steps: int) -> None:
    assert all(0 < factor <= 1 for factor in factors(schedule, steps, ratio))
