"""Loss and gradients against TRL's trainers on the same tokens, where the definitions agree; and loss against
LLaMA-Factory's formulas, written out in plain loops.

TRL pools its NLL over the tokens of a micro-batch. That is `nll_norm=token` for a step of one micro-batch,
and with one pair per micro-batch it is `nll_norm=sequence` too.

TRL's DPOTrainer smooths labels in `robust`, which is another formula, and in `aot`, which sorts the log-ratios
of a batch and is conservative DPO for a single pair; its CPOTrainer has SimPO.
"""

import math
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase
from trl import DPOConfig, DPOTrainer

from lidr.chat import ChatFormat
from lidr.config import Divergence, Layout, NllNorm, ObjectiveConfig
from lidr.training import microbatch
from lidr.training.logprobs import response_log_probs
from lidr.training.objective import (
    PairLengths,
    PairLogProbs,
    StepTotals,
    chosen_nll,
    contribution,
    preference_terms,
)
from lidr.training.pairs import TokenPair, TokenPairs
from tests.training.test_objective import objective

BETA, ALPHA = 0.3, 0.7
SEVERAL, ONE = [0, 4, 5, 10], [7]
TRAINER = {
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
    "report_to": "none",
    "disable_tqdm": True,
}
ROWS = [{"prompt": "p", "chosen": "c", "rejected": "r"}]
Gradients = dict[str, torch.Tensor]
Result = tuple[float, Gradients]
# TRL 1.16 uses names that transformers 5.23 has renamed.
pytestmark = pytest.mark.filterwarnings("ignore:.*is deprecated and will be removed in v6:FutureWarning")


@pytest.fixture(scope="module")
def pi_ref(m_0: str, stranger: str) -> LlamaForCausalLM:
    """A fiftieth of the way from the policy to another model: log-ratios of some nats, as in training."""
    policy, other = (LlamaForCausalLM.from_pretrained(path).eval() for path in (m_0, stranger))
    with torch.no_grad():
        for parameter, target in zip(policy.parameters(), other.parameters(), strict=True):
            parameter.lerp_(target, 0.02)
    return policy


@pytest.fixture(scope="module")
def dpo_trainer(
    m_0: str,
    pi_ref: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    tmp_path_factory: pytest.TempPathFactory,
) -> DPOTrainer:
    folder: Path = tmp_path_factory.mktemp("trl")
    return DPOTrainer(
        model=LlamaForCausalLM.from_pretrained(m_0).eval(),
        ref_model=pi_ref,
        args=DPOConfig(output_dir=str(folder), beta=BETA, **TRAINER),
        train_dataset=Dataset.from_list(ROWS),
        processing_class=tokenizer,
    )


@pytest.fixture(scope="module")
def cpo_trainer(
    m_0: str, tokenizer: PreTrainedTokenizerBase, tmp_path_factory: pytest.TempPathFactory
) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "TRL_EXPERIMENTAL_SILENCE", "1")
        from trl.experimental.cpo import CPOConfig, CPOTrainer

    folder: Path = tmp_path_factory.mktemp("cpo")
    return CPOTrainer(
        model=LlamaForCausalLM.from_pretrained(m_0).eval(),
        args=CPOConfig(output_dir=str(folder), loss_type="simpo", **TRAINER),
        train_dataset=Dataset.from_list(ROWS),
        processing_class=tokenizer,
    )


def padded(pairs: list[TokenPair], pad_id: int) -> dict[str, torch.Tensor]:
    """What TRL's collator makes of pairs: rows of chosen ones first, and masks of tokens and of responses."""
    rows = [(p.prompt, p.chosen) for p in pairs] + [(p.prompt, p.rejected or p.chosen) for p in pairs]
    time = max(len(prompt) + len(response) for prompt, response in rows)
    ids = [[*x, *y] + [pad_id] * (time - len(x) - len(y)) for x, y in rows]
    tokens = [[1] * (len(x) + len(y)) + [0] * (time - len(x) - len(y)) for x, y in rows]
    responses = [[0] * len(x) + [1] * len(y) + [0] * (time - len(x) - len(y)) for x, y in rows]
    names = ("input_ids", "attention_mask", "completion_mask")
    return dict(zip(names, map(torch.tensor, (ids, tokens, responses)), strict=True))


def run(trainer: Any, inputs: dict[str, torch.Tensor]) -> Result:
    trainer.model.eval().zero_grad()
    loss = trainer.compute_loss(trainer.model, inputs)
    loss.backward()
    return loss.item(), {name: p.grad.clone() for name, p in trainer.model.named_parameters()}


def dpo_trainers(trainer: DPOTrainer, pairs: list[TokenPair], pad_id: int, values: dict[str, Any]) -> Result:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ({"loss_weights": [1.0, ALPHA]} | values).items():
            patch.setattr(trainer, name, value)
        return run(trainer, padded(pairs, pad_id))


def ours(
    m_0: str, reference: LlamaForCausalLM, batch: microbatch.MicroBatch, config: ObjectiveConfig
) -> Result:
    policy = LlamaForCausalLM.from_pretrained(m_0).eval()
    with torch.no_grad():
        pi_ref = PairLogProbs(*response_log_probs(reference, batch).chunk(2))
    pi_theta = PairLogProbs(*response_log_probs(policy, batch).chunk(2))
    step = StepTotals(len(batch.pairs), int(batch.chosen_lengths.sum()))
    nll = chosen_nll(pi_theta.w, batch.chosen_lengths, step, config.nll_norm)
    lengths = PairLengths(*batch.response_lengths.chunk(2))
    compared = pi_ref if config.name.needs_reference else None
    loss = contribution(preference_terms(pi_theta, compared, lengths, nll, config, config.beta), step)
    loss.backward()
    return loss.item(), {name: p.grad for name, p in policy.named_parameters() if p.grad is not None}


def assert_same(ours: Result, theirs: Result) -> None:
    """To 1e-5 of each gradient's largest entry: a divergence multiplies all by a ratio of likelihoods."""
    assert ours[0] == pytest.approx(theirs[0], rel=1e-5)
    assert ours[1].keys() == theirs[1].keys()
    for name, gradient in ours[1].items():
        expected = theirs[1][name]
        atol = 1e-5 * max(1.0, expected.abs().max().item())
        torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=atol, msg=name)


SIGMOID = {"loss_types": ["sigmoid", "sft"]}
TOKEN = {"beta": BETA, "alpha": ALPHA, "nll_norm": NllNorm.TOKEN}
SEQUENCE = TOKEN | {"nll_norm": NllNorm.SEQUENCE}


def divergence(name: str, alpha: float = 0.0) -> ObjectiveConfig:
    return objective("dpo", **TOKEN, divergence=Divergence(name), divergence_alpha=alpha)


@pytest.mark.parametrize(
    ("config", "values", "indices"),
    [
        pytest.param(objective("dpo", **TOKEN), SIGMOID, SEVERAL, id="dpo"),
        pytest.param(objective("dpo", **TOKEN), SIGMOID, ONE, id="dpo-one"),
        pytest.param(objective("dpo", **SEQUENCE), SIGMOID, ONE, id="dpo-sequence"),
        pytest.param(objective("dpo", **SEQUENCE), SIGMOID, [2], id="dpo-sequence-other"),
        pytest.param(
            objective("dpo", **TOKEN, label_smoothing=0.2),
            {"loss_types": ["aot", "sft"], "label_smoothing": 0.2},
            ONE,
            id="dpo-smoothed",
        ),
        pytest.param(objective("ipo", **TOKEN), {"loss_types": ["ipo", "sft"]}, SEVERAL, id="ipo"),
        pytest.param(
            divergence("forward_kl"), SIGMOID | {"f_divergence_type": "forward_kl"}, SEVERAL, id="forward_kl"
        ),
        pytest.param(divergence("js"), SIGMOID | {"f_divergence_type": "js_divergence"}, SEVERAL, id="js"),
        pytest.param(
            divergence("alpha", 0.3),
            SIGMOID | {"f_divergence_type": "alpha_divergence", "f_alpha_divergence_coef": 1 - 0.3},
            SEVERAL,
            id="alpha",
        ),
    ],
)
def test_same_loss_and_gradients_as_trl(
    dpo_trainer: DPOTrainer,
    m_0: str,
    pi_ref: LlamaForCausalLM,
    token_pairs: TokenPairs,
    chat: ChatFormat,
    config: ObjectiveConfig,
    values: dict[str, Any],
    indices: list[int],
) -> None:
    batch = microbatch.make(token_pairs.pairs, indices, Layout.PADDED, chat.pad_id)
    theirs = dpo_trainers(dpo_trainer, [token_pairs.pairs[i] for i in indices], chat.pad_id, values)
    assert_same(ours(m_0, pi_ref, batch, config), theirs)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
def test_same_simpo_as_trl(
    cpo_trainer: Any,
    m_0: str,
    pi_ref: LlamaForCausalLM,
    token_pairs: TokenPairs,
    chat: ChatFormat,
    label_smoothing: float,
) -> None:
    inputs = padded([token_pairs.pairs[i] for i in SEVERAL], chat.pad_id)
    labels = inputs["input_ids"].masked_fill(inputs["completion_mask"] == 0, -100)
    columns = {"input_ids": inputs["input_ids"], "attention_mask": inputs["attention_mask"], "labels": labels}
    halves = {name: column.chunk(2) for name, column in columns.items()}
    sides = {f"chosen_{k}": v[0] for k, v in halves.items()} | {
        f"rejected_{k}": v[1] for k, v in halves.items()
    }
    settings = {"beta": 2.0, "simpo_gamma": 1.4, "cpo_alpha": ALPHA, "label_smoothing": label_smoothing}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setattr(cpo_trainer, name, value)
        theirs = run(cpo_trainer, sides)
    config = objective("simpo", **(TOKEN | {"beta": 2.0}), target_margin=1.4, label_smoothing=label_smoothing)
    batch = microbatch.make(token_pairs.pairs, SEVERAL, Layout.PADDED, chat.pad_id)
    assert_same(ours(m_0, pi_ref, batch, config), theirs)


def test_the_norms_disagree_with_trl_where_they_should(
    dpo_trainer: DPOTrainer, m_0: str, pi_ref: LlamaForCausalLM, token_pairs: TokenPairs, chat: ChatFormat
) -> None:
    """Several pairs of unlike lengths: a mean of per-sequence means is not the pooled mean."""
    batch = microbatch.make(token_pairs.pairs, SEVERAL, Layout.PADDED, chat.pad_id)
    theirs = dpo_trainers(dpo_trainer, [token_pairs.pairs[i] for i in SEVERAL], chat.pad_id, SIGMOID)
    assert abs(ours(m_0, pi_ref, batch, objective("dpo", **SEQUENCE))[0] - theirs[0]) > 1e-3


def llama_factory(
    name: str, rows: list[tuple[list[float], ...]], beta: float, ftx: float, gamma: float
) -> float:
    """`pref_loss` (sigmoid, ipo, simpo), `pref_ftx` and `simpo_gamma`; rows of log-probs a token, (w, l) of both."""
    total = 0.0
    for w, l, ref_w, ref_l in rows:  # noqa: E741 - the paper's symbol
        if name == "dpo":
            z = beta * ((sum(w) - sum(l)) - (sum(ref_w) - sum(ref_l)))
            loss = -math.log(1 / (1 + math.exp(-z)))
        elif name == "ipo":
            mean_w, mean_l = sum(w) / len(w), sum(l) / len(l)
            h = (mean_w - mean_l) - (sum(ref_w) / len(w) - sum(ref_l) / len(l))
            loss = (h - 1 / (2 * beta)) ** 2
        else:
            z = beta * ((sum(w) / len(w) - sum(l) / len(l)) - gamma / beta)
            loss = -math.log(1 / (1 + math.exp(-z)))
        total += loss + ftx * -sum(w) / len(w)
    return total / len(rows)


@pytest.mark.parametrize("name", ["dpo", "ipo", "simpo"])
def test_same_loss_as_llama_factory(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    lengths = [(3, 7), (12, 2), (5, 5)]
    rows = [
        tuple((-3 * torch.rand(n, generator=generator, dtype=torch.float64)).tolist() for n in (w, l, w, l))
        for w, l in lengths  # noqa: E741 - the paper's symbol
    ]
    sums = torch.tensor([[sum(tokens) for tokens in row] for row in rows], dtype=torch.float64)
    config = objective(name, beta=0.6, alpha=ALPHA, target_margin=0.9 if name == "simpo" else 0.0)
    sizes, step = PairLengths(*torch.tensor(lengths).T), StepTotals(3, 20)
    pi_ref = PairLogProbs(sums[:, 2], sums[:, 3]) if config.name.needs_reference else None
    nll = chosen_nll(sums[:, 0], sizes.w, step, NllNorm.SEQUENCE)
    terms = preference_terms(PairLogProbs(sums[:, 0], sums[:, 1]), pi_ref, sizes, nll, config, 0.6)
    assert contribution(terms, step).item() == pytest.approx(llama_factory(name, rows, 0.6, ALPHA, 0.9))
