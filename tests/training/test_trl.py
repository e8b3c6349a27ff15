"""Loss and gradients against TRL's DPOTrainer on the same tensors, where the definitions agree.

TRL pools its NLL over the tokens of a micro-batch. That is `nll_norm=token` for a step of one micro-batch,
and with one pair per micro-batch it is `nll_norm=sequence` too.
"""

from pathlib import Path

import pytest
import torch
from datasets import Dataset
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase
from trl import DPOConfig, DPOTrainer

from lidr.chat import ChatFormat
from lidr.config import NllNorm
from lidr.training.batching import Batcher, MicroBatch
from lidr.training.logprobs import response_log_probs
from lidr.training.objective import PairLogProbs, StepTotals, chosen_nll, contribution, preference_terms
from lidr.training.pairs import TokenPairs

BETA, ALPHA = 0.3, 0.7
Gradients = dict[str, torch.Tensor]
# TRL 1.16 uses names that transformers 5.23 has renamed.
pytestmark = pytest.mark.filterwarnings("ignore:.*is deprecated and will be removed in v6:FutureWarning")


@pytest.fixture(scope="module")
def trl(
    m_0: str, stranger: str, tokenizer: PreTrainedTokenizerBase, tmp_path_factory: pytest.TempPathFactory
) -> DPOTrainer:
    folder: Path = tmp_path_factory.mktemp("trl")
    args = DPOConfig(
        output_dir=str(folder),
        loss_type=["sigmoid", "sft"],
        loss_weights=[1.0, ALPHA],
        beta=BETA,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
        disable_tqdm=True,
    )
    return DPOTrainer(
        model=LlamaForCausalLM.from_pretrained(m_0).eval(),
        ref_model=LlamaForCausalLM.from_pretrained(stranger).eval(),
        args=args,
        train_dataset=Dataset.from_list([{"prompt": "p", "chosen": "c", "rejected": "r"}]),
        processing_class=tokenizer,
    )


def theirs(trl: DPOTrainer, batch: MicroBatch) -> tuple[float, Gradients]:
    completion = torch.zeros_like(batch.attention_mask)
    completion[:, 1:] = batch.before_response[:, :-1]
    inputs = {
        "input_ids": batch.input_ids,
        "attention_mask": batch.attention_mask,
        "completion_mask": completion,
    }
    trl.model.eval().zero_grad()
    loss = trl.compute_loss(trl.model, inputs)
    loss.backward()
    return loss.item(), {name: p.grad.clone() for name, p in trl.model.named_parameters()}


def ours(m_0: str, stranger: str, batch: MicroBatch, norm: NllNorm) -> tuple[float, Gradients]:
    policy = LlamaForCausalLM.from_pretrained(m_0).eval()
    with torch.no_grad():
        pi_ref = PairLogProbs(
            *response_log_probs(LlamaForCausalLM.from_pretrained(stranger).eval(), batch).chunk(2)
        )
    pi_theta = PairLogProbs(*response_log_probs(policy, batch).chunk(2))
    step = StepTotals(len(batch.pairs), int(batch.chosen_lengths.sum()))
    nll = chosen_nll(pi_theta.w, batch.chosen_lengths, step, norm)
    loss = contribution(preference_terms(pi_theta, pi_ref, nll, beta=BETA, alpha=ALPHA), step)
    loss.backward()
    return loss.item(), {name: p.grad for name, p in policy.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(
    ("indices", "norm"),
    [([0, 4, 5, 10], NllNorm.TOKEN), ([7], NllNorm.TOKEN), ([7], NllNorm.SEQUENCE), ([2], NllNorm.SEQUENCE)],
)
def test_same_loss_and_gradients_as_trl(
    trl: DPOTrainer,
    m_0: str,
    stranger: str,
    token_pairs: TokenPairs,
    chat: ChatFormat,
    indices: list[int],
    norm: NllNorm,
) -> None:
    batch = Batcher(token_pairs.pairs, chat.pad_id).micro_batch(indices)
    their_loss, their_gradients = theirs(trl, batch)
    loss, gradients = ours(m_0, stranger, batch, norm)
    assert loss == pytest.approx(their_loss, rel=1e-5)
    assert gradients.keys() == their_gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, their_gradients[name], rtol=1e-4, atol=1e-5, msg=name)


def test_the_norms_disagree_with_trl_where_they_should(
    trl: DPOTrainer, m_0: str, stranger: str, token_pairs: TokenPairs, chat: ChatFormat
) -> None:
    """Several pairs of unlike lengths: a mean of per-sequence means is not the pooled mean."""
    batch = Batcher(token_pairs.pairs, chat.pad_id).micro_batch([0, 4, 5, 10])
    assert abs(ours(m_0, stranger, batch, NllNorm.SEQUENCE)[0] - theirs(trl, batch)[0]) > 1e-3
