"""Every way to compute a training step gives the same log-probs, loss and gradients.

Layout, logits, precision, parameters and the way to the reference are combined in full. What is expected is made
here, with nothing of lidr: log-probs a sequence at a time, loss and gradients from padded rows and all logits.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch.nn.functional import logsigmoid
from torch.nn.utils.rnn import pad_sequence

from lidr.config import Layout, Precision
from lidr.training import head, microbatch, reference, support
from lidr.training.logprobs import plain_head, response_log_probs
from lidr.training.module import Plan, PreferenceModule
from lidr.training.objective import StepTotals, contribution
from lidr.training.reference import ReferenceLogProbs
from tests.training.cases import LENGTHS, VOCABULARY, definition, model, token_pairs_of
from tests.training.conftest import MakeConfig

PAIRS = token_pairs_of(*LENGTHS)
ALL = range(len(PAIRS))
BETA, ALPHA = 0.1, 0.7
# Largest error of log-probs and loss relative to their own size; of gradients, relative to the parameter's largest.
TOLERANCE = {
    Precision.FP32: {"log_probs": 1e-5, "loss": 1e-5, "gradients": 2e-5},
    Precision.BF16: {"log_probs": 3e-2, "loss": 3e-2, "gradients": 0.15},
}
# Of the same log-probs as layouts and ways to the reference compute them, where all compute in bf16.
LAYOUTS = (Layout.PADDED, Layout.PACKED, Layout.SHARED)
REFERENCES = {"full": ("cached", "frozen copy"), "lora": ("cached", "frozen copy", "adapter off")}
CELLS = [(kind, way) for kind, ways in REFERENCES.items() for way in ways]
CPU = torch.device("cpu")
# peft 0.21 reads an attribute that transformers 5.23 has renamed.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")


class Models(NamedTuple):
    """base: pi_ref. policy: pi_theta, base with other weights, or base + adapter."""

    base: nn.Module
    policy: nn.Module


def models(kind: str, precision: Precision) -> Models:
    """As `policy.load_policy` holds them: under LoRA in bf16 the base is bf16 and the adapter fp32."""
    base = model()
    if kind == "lora":
        base = base.to(torch.bfloat16 if precision is Precision.BF16 else torch.float32)
        lora = LoraConfig(r=2, target_modules=["q_proj", "v_proj", "down_proj"], task_type="CAUSAL_LM")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            policy = get_peft_model(copy.deepcopy(base), lora).eval()
    else:
        policy = copy.deepcopy(base)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in (p for p in policy.parameters() if p.requires_grad):
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.02)
    return Models(base.requires_grad_(False), policy)


def numerics(precision: Precision) -> contextlib.AbstractContextManager[Any]:
    return torch.autocast("cpu", torch.bfloat16, enabled=precision is Precision.BF16)


@pytest.fixture
def chunks(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Chunks of 5 rows of logits and softmaxes of 3; lists how many each call took."""
    counts = []
    real = head._chunks

    def count(hidden: Tensor, weight: Tensor) -> list[slice]:
        found = real(hidden, weight)
        counts.append(len(found))
        return found

    monkeypatch.setattr(head, "CHUNK_ELEMENTS", 5 * VOCABULARY)
    monkeypatch.setattr(head, "_SOFTMAX_ELEMENTS", 3 * VOCABULARY)
    monkeypatch.setattr(head, "_chunks", count)
    yield counts


def reference_log_probs(way: str, models: Models, layout: Layout, precision: Precision) -> ReferenceLogProbs:
    batch = microbatch.make(PAIRS, ALL, layout, 0)
    if way == "cached":
        support.use_layout(models.base, layout)
        return reference.compute(
            models.base, [batch], len(PAIRS), CPU, numerics(precision), lambda _: None
        )
    frozen = copy.deepcopy(models.base) if way == "frozen copy" else models.policy
    support.use_layout(frozen, layout)
    off = frozen.disable_adapter() if way == "adapter off" else contextlib.nullcontext()
    with torch.no_grad(), off, numerics(precision):
        return ReferenceLogProbs(*response_log_probs(frozen, batch).chunk(2))


class Result(NamedTuple):
    log_probs: Tensor
    loss: float
    gradients: dict[str, Tensor]


def computed(
    models: Models, ref: ReferenceLogProbs, layout: Layout, keep: bool, precision: Precision, config: Any
) -> Result:
    """By the training module."""
    support.use_layout(models.policy, layout)
    plan = Plan(1, 1, "", None, keep_logits=keep)
    module = PreferenceModule(models.policy, PAIRS, ref, config.objective, config.training, plan)
    totals = StepTotals(len(PAIRS), sum(len(pair.chosen) for pair in PAIRS))
    batch = microbatch.make(PAIRS, ALL, layout, 0)
    with numerics(precision):
        loss = contribution(module.terms(batch, totals, BETA), totals)
        loss.backward()
        with torch.no_grad():
            log_probs = response_log_probs(models.policy, batch, keep_logits=keep)
    return Result(log_probs, loss.item(), gradients_of(models.policy))


def expected(models: Models) -> Result:
    """In fp32: DPO + NLL by the paper's formulas, from right-padded rows with all their logits."""
    base, policy = (copy.deepcopy(m).float() for m in models)
    for one in (base, policy):
        support.base_model(one).set_attn_implementation("eager")
    with torch.no_grad():
        alone, ref = definition(policy, PAIRS), definition(base, PAIRS)
    w, l = padded_log_probs(policy)  # noqa: E741
    ref_w, ref_l = ref.chunk(2)
    lengths = torch.tensor([len(pair.chosen) for pair in PAIRS])
    loss = (-logsigmoid(BETA * ((w - ref_w) - (l - ref_l))) - ALPHA * w / lengths).mean()
    loss.backward()
    return Result(alone, loss.item(), gradients_of(policy))


def padded_log_probs(policy: nn.Module) -> tuple[Tensor, Tensor]:
    """log pi(y_w|x) and log pi(y_l|x)."""
    sequences = [(p.prompt, y) for kind in ("chosen", "rejected") for p in PAIRS for y in [getattr(p, kind)]]
    rows = [torch.tensor([*prompt, *response]) for prompt, response in sequences]
    ids = pad_sequence(rows, batch_first=True)
    mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
    of_next = policy(input_ids=ids, attention_mask=mask).logits[:, :-1].log_softmax(-1)
    of_next = of_next.gather(-1, ids[:, 1:, None])[..., 0]
    is_response = [
        torch.tensor([0] * (len(prompt) - 1) + [1] * len(response)) for prompt, response in sequences
    ]
    sums = (of_next * pad_sequence(is_response, batch_first=True)).sum(1)
    return sums[: len(PAIRS)], sums[len(PAIRS) :]


def gradients_of(policy: nn.Module) -> dict[str, Tensor]:
    return {n: p.grad.clone() for n, p in policy.named_parameters() if p.grad is not None}


@pytest.fixture(scope="module")
def right() -> dict[tuple[str, Precision], Result]:
    return {(kind, p): expected(models(kind, p)) for kind in REFERENCES for p in Precision}


MEASURED: dict[tuple[str, str], float] = {}


def distance(of: str, precision: Precision, ours: Tensor, theirs: Tensor, scale: Tensor) -> None:
    error = ((ours.float() - theirs).abs() / scale).max().item()
    MEASURED[of, precision] = max(error, MEASURED.get((of, precision), 0.0))
    assert error <= TOLERANCE[precision][of], f"{of}: {error:.2g}"


@pytest.mark.parametrize(("kind", "way"), CELLS)
@pytest.mark.parametrize("precision", Precision)
@pytest.mark.parametrize("keep", [True, False], ids=["kept", "chunked"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_way_gives_the_same(
    make_config: MakeConfig,
    right: dict[tuple[str, Precision], Result],
    chunks: list[int],
    layout: Layout,
    keep: bool,
    precision: Precision,
    kind: str,
    way: str,
) -> None:
    made = models(kind, precision)
    ref = reference_log_probs(way, made, layout, precision)
    config = make_config({"objective.beta": BETA, "objective.alpha": ALPHA})
    ours, theirs = computed(made, ref, layout, keep, precision, config), right[kind, precision]
    assert bool(chunks) is not keep
    assert all(count > 10 for count in chunks)
    assert plain_head(made.policy) is not None
    distance("log_probs", precision, ours.log_probs, theirs.log_probs, theirs.log_probs.abs())
    distance("loss", precision, torch.tensor(ours.loss), torch.tensor(theirs.loss), torch.tensor(theirs.loss))
    assert ours.gradients.keys() == theirs.gradients.keys()
    for name, gradient in theirs.gradients.items():
        distance("gradients", precision, ours.gradients[name], gradient, gradient.abs().max())


@pytest.mark.parametrize("precision", Precision)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_ways_to_the_reference_are_the_same_function(
    make_config: MakeConfig, layout: Layout, precision: Precision
) -> None:
    """The cache, a frozen copy, and the policy with its adapter off where that is the base: bit for bit."""
    config = make_config({"objective.beta": BETA})
    losses = set()
    for way in REFERENCES["lora"]:
        made = models("lora", precision)
        ref = reference_log_probs(way, made, layout, precision)
        losses.add(computed(made, ref, layout, True, precision, config).loss)
    assert len(losses) == 1


def test_zz():
    print(MEASURED)
