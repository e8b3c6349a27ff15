"""What Lightning is told in a SLURM job, whose variables say more tasks than one training has processes."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments import LightningEnvironment, SLURMEnvironment

from lidr.compose import compose_run
from lidr.config import RunConfig
from lidr.training.distributed import _environment, build_trainer
from lidr.training.quiet import contained

JOB = {
    "SLURM_JOB_ID": "7",
    "SLURM_JOB_NAME": "lidr",
    "SLURM_JOB_NODELIST": "n[1-2]",
    "SLURM_NTASKS": "8",
    "SLURM_NODEID": "0",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
}


@pytest.fixture(autouse=True)
def in_a_slurm_job(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in JOB.items():
        monkeypatch.setenv(name, value)


def config(*overrides: str) -> RunConfig:
    return compose_run(["experiment=lab", "processes=separate", *overrides])


class _Nothing(pl.LightningModule):
    """Looks at the signals while it is fitted."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.requeues = True

    def training_step(self, batch: torch.Tensor) -> torch.Tensor:
        self.requeues = signal.getsignal(signal.SIGUSR1) is not signal.SIG_DFL
        return self.weight.sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters())


def test_one_process_trains_in_a_job_of_more_tasks(tmp_path: Path) -> None:
    """Lightning by itself refuses `--ntasks`."""
    settings = config()
    module = _Nothing()
    with contained():
        trainer = build_trainer(settings.trainer, settings.trainer.precision, torch.device("cpu"), tmp_path)
        trainer.fit(module, torch.utils.data.DataLoader([torch.zeros(1)]))
    assert isinstance(trainer._accelerator_connector.cluster_environment, LightningEnvironment)
    assert not module.requeues, "SIGUSR1 is not Lightning's"


def test_several_nodes_are_slurms_without_checkpoints_of_lightnings_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "4")  # as `lidr.launch` asks srun
    (environment,) = _environment(config("trainer=ddp", "trainer.nodes=2", "trainer.devices=4").trainer)
    assert isinstance(environment, SLURMEnvironment)
    assert not environment.auto_requeue


def test_one_nodes_processes_are_the_elastic_agents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "lidr")
    assert _environment(config("trainer=ddp", "trainer.devices=4").trainer) == []
