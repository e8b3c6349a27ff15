"""Figure 1, right half: M_{t+1} is M_t trained with DPO + NLL on its own pairs."""

from lidr.training.run import TrainingJob, TrainingSummary, train

__all__ = ["TrainingJob", "TrainingSummary", "train"]
