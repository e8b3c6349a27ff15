"""Figure 1, right half: M_{t+1} is M_t trained with DPO + NLL on its own pairs."""

from lidr.training.job import TrainingJob, TrainingSummary
from lidr.training.run import train

__all__ = ["TrainingJob", "TrainingSummary", "train"]
