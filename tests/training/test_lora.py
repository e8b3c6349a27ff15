"""Two iterations of LoRA: whose log-probs the reference of iteration 2 are, and what the folder says."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from peft import AutoPeftModelForCausalLM
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from lidr.chat import ChatFormat
from lidr.config import Layout
from lidr.errors import LidrError
from lidr.training import TrainingJob, microbatch, train
from lidr.training.logprobs import response_log_probs
from lidr.training.pairs import TokenPairs
from tests.training.conftest import LORA, MakeJob

# peft 0.21 reads an attribute that transformers 5.23 has renamed.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")


@pytest.fixture(scope="module")
def m_1(make_job: MakeJob, tmp_path_factory: pytest.TempPathFactory) -> str:
    job = make_job(tmp_path_factory.mktemp("iteration-1"), LORA)
    train(job)
    return str(job.output)


@pytest.fixture(scope="module")
def second(make_job: MakeJob, m_1: str, tmp_path_factory: pytest.TempPathFactory) -> TrainingJob:
    job = make_job(tmp_path_factory.mktemp("iteration-2"), LORA, policy=m_1, iteration=2)
    train(job)
    return job


@torch.no_grad()
def chosen_log_probs(model: PreTrainedModel, tokens: TokenPairs, chat: ChatFormat) -> torch.Tensor:
    batch = microbatch.make(tokens.pairs, range(len(tokens.pairs)), Layout.PADDED, chat.pad_id)
    return response_log_probs(model.eval(), batch).chunk(2)[0]


def test_the_reference_of_iteration_2_is_m_1_and_not_the_base(
    second: TrainingJob, m_0: str, m_1: str, token_pairs: TokenPairs, chat: ChatFormat
) -> None:
    cached = load_file(second.cached_reference)["logp_w"]
    of_m_1 = chosen_log_probs(AutoPeftModelForCausalLM.from_pretrained(m_1), token_pairs, chat)
    of_m_0 = chosen_log_probs(AutoModelForCausalLM.from_pretrained(m_0), token_pairs, chat)
    torch.testing.assert_close(cached, of_m_1)
    assert (cached - of_m_0).abs().min() > 1e-2


def test_reference_initial_is_m_0(
    make_job: MakeJob, m_0: str, m_1: str, token_pairs: TokenPairs, chat: ChatFormat, tmp_path: Path
) -> None:
    overrides = LORA | {"reference": "initial"}
    job = make_job(tmp_path, overrides, policy=m_1, reference=m_0, iteration=2)
    train(job)
    of_m_0 = chosen_log_probs(AutoModelForCausalLM.from_pretrained(m_0), token_pairs, chat)
    torch.testing.assert_close(load_file(job.cached_reference)["logp_w"], of_m_0)


def test_the_adapter_of_iteration_1_is_trained_on(second: TrainingJob, m_1: str) -> None:
    before = load_file(Path(m_1) / "adapter_model.safetensors")
    after = load_file(second.output / "adapter_model.safetensors")
    assert before.keys() == after.keys()
    assert all(not torch.equal(before[name], after[name]) for name in before)


def test_lineage_names_base_and_parents(second: TrainingJob, m_0: str, m_1: str) -> None:
    weights = (Path(m_1) / "adapter_model.safetensors").read_bytes()
    assert json.loads((Path(m_1) / "lineage.json").read_text()) == {"base": m_0, "parents": []}
    assert json.loads((second.output / "lineage.json").read_text()) == {
        "base": m_0,
        "parents": [{"iteration": 1, "adapter_sha256": hashlib.sha256(weights).hexdigest()}],
    }


def test_the_folder_loads_without_this_project(
    second: TrainingJob, token_pairs: TokenPairs, chat: ChatFormat
) -> None:
    """Through peft and through transformers, with the log-probs the training ended with."""
    by_peft = AutoPeftModelForCausalLM.from_pretrained(second.output)
    by_transformers = AutoModelForCausalLM.from_pretrained(second.output)
    torch.testing.assert_close(
        chosen_log_probs(by_peft, token_pairs, chat), chosen_log_probs(by_transformers, token_pairs, chat)
    )
    assert AutoTokenizer.from_pretrained(second.output).chat_template == chat.tokenizer.chat_template


def test_the_saved_configuration_has_an_order(second: TrainingJob) -> None:
    config = json.loads((second.output / "adapter_config.json").read_text())
    assert config["target_modules"] == ["q_proj", "v_proj"]


def test_unknown_target_modules_are_refused(make_job: MakeJob, tmp_path: Path) -> None:
    with pytest.raises(LidrError, match=r"lora\.target_modules"):
        train(make_job(tmp_path, LORA | {"lora.target_modules": ["nonsense"]}))


def test_full_training_does_not_go_on_from_an_adapter(make_job: MakeJob, m_1: str, tmp_path: Path) -> None:
    with pytest.raises(LidrError, match="full training cannot go on from a LoRA adapter"):
        train(make_job(tmp_path, policy=m_1, iteration=2))
