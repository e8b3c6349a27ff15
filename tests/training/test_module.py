import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import LlamaForCausalLM

from lidr import jsonl
from lidr.chat import ChatFormat
from lidr.config import Layout, RunConfig
from lidr.errors import LidrError
from lidr.records import Pair
from lidr.training import TrainingJob, head, support, train
from lidr.training.batching import Batcher, Step, StepBatch, plan_steps
from lidr.training.metrics import Groups
from lidr.training.module import Plan, PreferenceModule
from lidr.training.objective import contribution
from lidr.training.pairs import TokenPairs, tokenise
from lidr.training.reference import ReferenceLogProbs
from tests.training.cases import definition
from tests.training.conftest import LORA, MakeConfig, MakeJob

BF16 = {"trainer.precision": "bf16"}


SPLITS = {  # tokens of a forward pass, and the pairs that go through the model together
    Layout.PADDED: ((10_000, [5]), (250, [3, 2]), (1, [1, 1, 1, 1, 1])),
    Layout.PACKED: ((10_000, [5]), (304, [3, 2]), (1, [1, 1, 1, 1, 1])),
    Layout.SHARED: ((10_000, [5]), (220, [3, 2]), (1, [1, 1, 1, 1, 1])),
}


def gradients(
    m_0: str,
    tokens: TokenPairs,
    config: RunConfig,
    batch: StepBatch,
    layout: Layout,
    numerics: contextlib.AbstractContextManager[Any],
) -> dict[str, torch.Tensor]:
    """Gradients of one optimizer step, one micro-batch after the other."""
    some = torch.full((len(tokens.pairs),), -30.0)
    reference = ReferenceLogProbs(some, some) if config.objective.name.needs_reference else None
    policy = LlamaForCausalLM.from_pretrained(m_0)
    support.use_layout(policy, layout)
    module = PreferenceModule(
        policy, tokens.pairs, reference, config.objective, config.training, Plan(1, 1, "", None, 2048)
    )
    with numerics:
        for micro_batch in batch.micro_batches:
            contribution(
                module.terms(micro_batch, batch.totals, config.objective.beta), batch.totals
            ).backward()
    return {name: p.grad for name, p in policy.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("norm", ["sequence", "token"])
@pytest.mark.parametrize(
    ("numerics", "tolerance"),
    [(contextlib.nullcontext, 1e-5), (lambda: torch.autocast("cpu", torch.bfloat16), 0.05)],
    ids=["fp32", "bf16"],
)
@pytest.mark.parametrize("layout", SPLITS)
def test_gradients_do_not_depend_on_the_split(
    m_0: str,
    token_pairs: TokenPairs,
    chat: ChatFormat,
    make_config: MakeConfig,
    norm: str,
    numerics: Callable[[], contextlib.AbstractContextManager[Any]],
    tolerance: float,
    layout: Layout,
) -> None:
    """Unequal micro-batches on purpose: a mean of micro-batch means would be wrong."""
    config = make_config({"objective.nll_norm": norm})
    results = []
    for budget, sizes in SPLITS[layout]:
        step = Batcher(token_pairs.pairs, chat.pad_id, layout, budget).step(0, Step(0, (0, 4, 5, 10, 3)))
        assert [len(m.pairs) for m in step.micro_batches] == sizes
        results.append(gradients(m_0, token_pairs, config, step, layout, numerics()))
    whole, *others = results
    for split in others:
        for name in whole:
            scale = whole[name].abs().max().item()
            torch.testing.assert_close(
                split[name], whole[name], rtol=tolerance, atol=tolerance * scale, msg=name
            )


@pytest.mark.parametrize("logits", ["kept", "chunked"])
@pytest.mark.parametrize("layout", ["padded", "packed", "shared"])
@pytest.mark.parametrize(
    "overrides", [{}, LORA, BF16, LORA | BF16], ids=["full", "lora", "bf16", "lora-bf16"]
)
def test_training_starts_at_ln_2_bit_for_bit(
    make_job: MakeJob,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    overrides: dict[str, Any],
    layout: str,
    logits: str,
) -> None:
    """The reference log-probs equal the first step's, so every margin is 0 and not merely small."""
    monkeypatch.setattr(head, "CHUNK_ELEMENTS", 262 * 7)
    monkeypatch.setattr(head, "_CACHED_ELEMENTS", 262 * 7)
    how = {"training.layout": layout, "training.logits": logits, "training.checkpointing": "never"}
    job = make_job(tmp_path, overrides | how | {"training.epochs": 1})
    train(job)
    first = next(jsonl.read(job.metrics))
    assert first["train/dpo"] == pytest.approx(0.6931472, abs=1e-7)
    zero = [key for key in first if key.startswith(("train/margin", "train/reward", "train/chosen_drift"))]
    assert len(zero) >= 12
    assert all(first[key] == 0.0 for key in zero)
    chosen = json.loads(job.choices.read_text())
    assert (chosen["layout"], chosen["keep_logits"]) == (layout, logits == "kept")


def test_a_step_backpropagates_its_mean_loss(
    make_job: MakeJob, tmp_path: Path, m_0: str, token_pairs: TokenPairs
) -> None:
    """The first step's gradient norm, of all its micro-batches, is that of its loss over all its pairs at once.

    Where policy and reference are the same, the loss of a pair is -log sigmoid(beta * (u_w - u_l)) + NLL, and u
    has the gradient of log pi. Adam and clipping would hide a gradient that is a multiple of it.
    """
    job = make_job(tmp_path, {"training.epochs": 1, "training.token_budget": 100})
    train(job)
    policy = LlamaForCausalLM.from_pretrained(m_0)
    (first, *_) = plan_steps(len(token_pairs.pairs), global_batch=4, epochs=1, seed=0)
    pairs = tuple(token_pairs.pairs[i] for i in first.pairs)
    w, l = definition(policy, pairs).chunk(2)  # noqa: E741
    lengths = torch.tensor([len(pair.chosen) for pair in pairs])
    margin = 0.1 * ((w - w.detach()) - (l - l.detach()))
    (torch.nn.functional.softplus(-margin) - w / lengths).mean().backward()
    norm = torch.stack([p.grad.square().sum() for p in policy.parameters()]).sum().sqrt().item()
    assert next(jsonl.read(job.metrics))["train/grad_norm"] == pytest.approx(norm, rel=1e-5)


def test_the_gate_fires_with_another_reference(make_job: MakeJob, tmp_path: Path, stranger: str) -> None:
    job = make_job(tmp_path, reference=stranger)
    with pytest.raises(LidrError, match=r"ln 2 = 0\.693147 and 0 were expected .* another chat template"):
        train(job)
    assert not job.output.exists()
    assert job.metrics.read_text() == ""


def test_the_gate_is_off_where_the_reference_is_meant_to_differ(
    make_job: MakeJob, tmp_path: Path, stranger: str
) -> None:
    train(make_job(tmp_path, {"reference": "initial"}, reference=stranger))


def test_a_loss_that_is_not_finite_names_the_pairs_and_overwrites_nothing(
    make_job: MakeJob, tmp_path: Path, stranger: str
) -> None:
    job = make_job(tmp_path, {"reference": "initial", "training.epochs": 1}, reference=stranger)
    train(job)
    job.checkpoint.unlink(missing_ok=True)  # as a finished stage does
    before = (job.output / "model.safetensors").read_bytes()
    _poison(job, index=4)
    with pytest.raises(LidrError, match=r"the loss is nan at optimizer step \d, pairs p4 \(es\)"):
        train(job)
    assert (job.output / "model.safetensors").read_bytes() == before
    assert all("NaN" not in line for line in job.metrics.read_text().splitlines())


def _poison(job: TrainingJob, index: int) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(job.cached_reference, framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(job.cached_reference)
    tensors["logp_w"][index] = torch.nan
    save_file(tensors, job.cached_reference, metadata=metadata)


def test_dropout_stays_off(make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes = []
    step = PreferenceModule.training_step

    def spy(self: PreferenceModule, batch: Any, batch_idx: int) -> dict[str, Any]:
        modes.append(any(module.training for module in self.policy.modules()))
        return step(self, batch, batch_idx)

    monkeypatch.setattr(PreferenceModule, "training_step", spy)
    train(make_job(tmp_path, {"lora.rank": 2}))
    assert modes == [False] * 6


def test_only_what_lora_adds_is_trained(make_job: MakeJob, tmp_path: Path) -> None:
    names = []
    save = PreferenceModule.on_save_checkpoint

    def spy(self: PreferenceModule, checkpoint: dict[str, Any]) -> None:
        save(self, checkpoint)
        names.extend(checkpoint["state_dict"])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PreferenceModule, "on_save_checkpoint", spy)
        train(make_job(tmp_path, LORA))
    assert names
    assert all("lora_" in name for name in names)


def test_dutch_and_the_pair_type_nl_are_told_apart(chat: ChatFormat, make_config: MakeConfig) -> None:
    def pair(language: str, origin: str) -> Pair:
        return Pair("i", language, "p", "c", "r", origin, language)

    pairs = [pair("en", "en"), pair("nl", "en->nl"), pair("es", "en->es")]
    too_long = make_config().training.too_long
    groups = Groups(tokenise(pairs, chat, 64, too_long, with_rejected=True).pairs)
    assert groups.names == ("", "en", "es", "nl", "type_nl", "type_en")
    assert groups.members.sum(dim=1).tolist() == [3, 1, 1, 1, 2, 1]
