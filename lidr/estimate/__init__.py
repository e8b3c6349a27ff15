"""What a run will take before it starts: requests, tokens, time, disk and money, low, expected and high.

What is counted is exact, what is measured says where it was measured, what is assumed stands in `assumed`, and
what is not known is unknown.
"""

from lidr.estimate.estimate import Estimate, StageEstimate, estimate
from lidr.estimate.left import StageState
from lidr.estimate.need import Need, together
from lidr.estimate.ranges import Range
from lidr.estimate.shared import stage_counts, together_once

__all__ = [
    "Estimate",
    "Need",
    "Range",
    "StageEstimate",
    "StageState",
    "estimate",
    "stage_counts",
    "together",
    "together_once",
]
