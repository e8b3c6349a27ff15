"""What headers say of a model, against the model itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from lidr.config import ModelConfig, Precision
from lidr.estimate.files import local_folder, read
from lidr.lab.model import model_path
from tests import tiny

# between peft 0.21 and transformers 5.23
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")


def named(path: str) -> ModelConfig:
    return ModelConfig("m", path, None, Precision.FP32, None)


@pytest.mark.parametrize("targets", [("q_proj", "down_proj"), (), ("all-linear",)])
def test_an_adapter_has_the_parameters_that_peft_gives_it(world: Path, targets: tuple[str, ...]) -> None:
    files = read(world / "model")
    assert files is not None
    wanted = list(targets) if targets == ("q_proj", "down_proj") else "all-linear"
    adapted = get_peft_model(tiny.model(), LoraConfig(r=4, target_modules=wanted))
    trained = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    assert files.adapter(4, targets) == trained
    assert files.checkpoint(4, targets) == 12 * trained
    assert files.saved(4, targets) == 4 * trained + files.beside


def test_a_model_has_the_parameters_of_its_headers() -> None:
    files = read(model_path())
    assert files is not None
    model = AutoModelForCausalLM.from_pretrained(model_path())
    assert files.parameters == model.num_parameters()
    assert files.context == model.config.max_position_embeddings
    on_disk = sum(p.stat().st_size for p in model_path().iterdir())
    assert files.saved(0, ()) == pytest.approx(on_disk, rel=0.01)


def test_an_adapter_is_read_through_its_base(world: Path, tmp_path: Path) -> None:
    adapted = get_peft_model(tiny.model(), LoraConfig(r=4, target_modules=["q_proj"]))
    adapted.peft_config["default"].base_model_name_or_path = str(world / "model")
    adapted.save_pretrained(tmp_path / "adapter")
    files, base = read(tmp_path / "adapter"), read(world / "model")
    assert files is not None
    assert base is not None
    assert files.shapes == base.shapes


def test_a_model_that_is_not_here_is_unknown(tmp_path: Path) -> None:
    assert local_folder(named("nobody/nothing")) is None
    assert local_folder(named("no hub id/at all/ever")) is None
    assert read(tmp_path) is None
    (tmp_path / "model.safetensors").write_bytes(b"torn")
    assert read(tmp_path) is None


def test_the_lab_is_here() -> None:
    assert local_folder(named("builtin:lab")) == model_path()
