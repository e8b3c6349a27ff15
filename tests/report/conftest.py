from .runs import one_run, three_runs
from .settings import grid

__all__ = ["grid", "one_run", "three_runs"]
