"""Trains jobs one after the other, in each of the processes that torchrun starts: a line of JSON each."""

import json
import logging
import sys
from pathlib import Path

import torch

from lidr.config import read_config
from lidr.training import TrainingJob, train

logging.basicConfig(level=logging.WARNING)
torch.set_num_threads(1)
for line in Path(sys.argv[1]).read_text().splitlines():
    values = json.loads(line)
    root = Path(values["root"])
    config = read_config(root / "config.yaml")
    pairs, policy, reference = Path(values["pairs"]), values["policy"], values["reference"]
    train(TrainingJob(config, 1, policy, reference, pairs, None, root / "model", root / "training"))
