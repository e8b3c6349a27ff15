"""The training half of Language Imbalance Driven Rewarding: M_{t+1} = M_t trained on its pairs with DPO + NLL."""

from lidr.training.run import TrainingJob, TrainingSummary, train

__all__ = ["TrainingJob", "TrainingSummary", "train"]
