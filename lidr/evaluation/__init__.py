"""Evaluation: a module per kind of benchmark, scores from stored answers, intervals clustered by problem."""

from lidr.evaluation.results import Results, collect_scores, read_results, write_results
from lidr.evaluation.scores import ALL, MEAN_NON_DOMINANT, MEAN_UNSEEN, PAIRS, Score, imbalance_gap

__all__ = [
    "ALL",
    "MEAN_NON_DOMINANT",
    "MEAN_UNSEEN",
    "PAIRS",
    "Results",
    "Score",
    "collect_scores",
    "imbalance_gap",
    "read_results",
    "write_results",
]
