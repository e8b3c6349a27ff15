"""W&B as the mirror of a run: ``metrics.jsonl``, ``results.json`` and ``config.yaml`` are the truth."""

from lidr.tracking.keys import score_key
from lidr.tracking.tracker import Tracker

__all__ = ["Tracker", "score_key"]
