from .runs import one_run, three_runs

__all__ = ["one_run", "three_runs"]
