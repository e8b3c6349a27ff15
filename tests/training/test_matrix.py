"""Every way to compute a training step gives the same log-probs, loss and gradients.

Layout, logits, precision, parameters and the way to the reference are combined in full. What is expected is made
here, with nothing of lidr: log-probs a sequence at a time, loss and gradients from padded rows and all logits.
"""

from __future__ import annotations

import contextlib
import copy
from typing import Any, NamedTuple

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch.nn.functional import logsigmoid
from torch.nn.utils.rnn import pad_sequence

from lidr import attention_interface
from lidr.config import Layout, Precision, RunConfig
from lidr.training import fusing, head, microbatch, reference, support
from lidr.training.logprobs import plain_head, response_log_probs
from lidr.training.module import Plan, PreferenceModule
from lidr.training.objective import StepTotals, contribution
from lidr.training.reference import ReferenceLogProbs
from tests.training.cases import LENGTHS, VOCABULARY, definition, model, token_pairs_of
from tests.training.conftest import MakeConfig

PAIRS = token_pairs_of(*LENGTHS)
ALL = range(len(PAIRS))
BETA, ALPHA = 0.1, 0.7
# Largest error, relative to the value's own size, of gradients to the largest of their parameter. Measured: 2.5e-7,
# 1.1e-7 and 2.1e-6; in bf16, against fp32 on the same weights, 3.3e-3, 7.4e-4 and 5.1e-2.
TOLERANCE = {
    Precision.FP32: {"log_probs": 2e-6, "loss": 1e-6, "gradients": 1e-5},
    Precision.BF16: {"log_probs": 1e-2, "loss": 3e-3, "gradients": 0.1},
}
LAYOUTS = (Layout.PADDED, Layout.PACKED, Layout.SHARED)
REFERENCES = {"full": ("cached", "frozen copy"), "lora": ("cached", "frozen copy", "adapter off")}
CELLS = [(kind, way) for kind, ways in REFERENCES.items() for way in ways]
CPU = torch.device("cpu")
# peft 0.21 reads an attribute that transformers 5.23 has renamed.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")


class Models(NamedTuple):
    """base: pi_ref. frozen: its copy. policy: pi_theta, base with other weights, or base + adapter."""

    base: nn.Module
    frozen: nn.Module
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
    base.requires_grad_(False)
    return Models(base, copy.deepcopy(base), policy)


def numerics(precision: Precision) -> contextlib.AbstractContextManager[Any]:
    return torch.autocast("cpu", torch.bfloat16, enabled=precision is Precision.BF16)


@pytest.fixture
def chunks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Chunks of 5 rows of logits and softmaxes of 3; lists how many each call took."""
    counts: list[int] = []
    real = head._chunks

    def count(hidden: Tensor, weight: Tensor, elements: int) -> list[slice]:
        found = real(hidden, weight, elements)
        if elements == head.CHUNK_ELEMENTS:
            counts.append(len(found))
        return found

    monkeypatch.setattr(head, "CHUNK_ELEMENTS", 5 * VOCABULARY)
    monkeypatch.setattr(head, "_SOFTMAX_ELEMENTS", 3 * VOCABULARY)
    monkeypatch.setattr(head, "_CACHED_ELEMENTS", 4 * VOCABULARY)
    monkeypatch.setattr(head, "_chunks", count)
    return counts


def reference_log_probs(way: str, models: Models, layout: Layout, precision: Precision) -> ReferenceLogProbs:
    batch = microbatch.make(PAIRS, ALL, layout, 0)
    if way == "cached":
        support.use_layout(models.base, layout)
        return reference.compute(models.base, [batch], len(PAIRS), CPU, numerics(precision), lambda _: None)
    frozen = models.frozen if way == "frozen copy" else models.policy
    support.use_layout(frozen, layout)
    off = frozen.disable_adapter() if way == "adapter off" else contextlib.nullcontext()
    with torch.no_grad(), off, numerics(precision):
        return ReferenceLogProbs(*response_log_probs(frozen, batch).chunk(2))


class Result(NamedTuple):
    log_probs: Tensor
    loss: float
    gradients: dict[str, Tensor]


def computed(
    models: Models,
    ref: ReferenceLogProbs,
    layout: Layout,
    keep: bool,
    precision: Precision,
    config: RunConfig,
) -> Result:
    """By the training module."""
    support.use_layout(models.policy, layout)
    plan = Plan(1, 1, "", None, 2048, keep_logits=keep, keep_weights=keep)
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
    base, _, policy = (one.float() for one in models)
    for one in (base, policy):
        attention_interface.base_model(one).set_attn_implementation("eager")
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


def check(of: str, precision: Precision, ours: Tensor, theirs: Tensor, scale: Tensor) -> None:
    error = ((ours.float() - theirs).abs() / scale).max().item()
    assert error <= TOLERANCE[precision][of], f"{of}: {error:.2g}"


@pytest.fixture(params=[False, True], ids=["own", "fused"])
def fused(request: pytest.FixtureRequest) -> bool:
    """Whether norms, activations and rotary embeddings are fused, as `run` does."""
    return request.param


def fuse(models: Models, stack: contextlib.ExitStack) -> None:
    for one in models:
        fusing.fuse(one)
        stack.enter_context(fusing.fused_rotary(one))


@pytest.mark.parametrize(("kind", "way"), CELLS)
@pytest.mark.parametrize("precision", Precision)
@pytest.mark.parametrize("keep", [True, False], ids=["kept", "chunked"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_way_gives_the_same(
    make_config: MakeConfig,
    right: dict[tuple[str, Precision], Result],
    chunks: list[int],
    fused: bool,
    layout: Layout,
    keep: bool,
    precision: Precision,
    kind: str,
    way: str,
) -> None:
    made, theirs = models(kind, precision), right[kind, precision]
    config = make_config({"objective.beta": BETA, "objective.alpha": ALPHA})
    with contextlib.ExitStack() as stack:
        if fused:
            fuse(made, stack)
        ref = reference_log_probs(way, made, layout, precision)
        ours = computed(made, ref, layout, keep, precision, config)
    assert bool(chunks) is not keep
    assert all(count > 10 for count in chunks)
    assert plain_head(made.policy) is not None
    check("log_probs", precision, ours.log_probs, theirs.log_probs, theirs.log_probs.abs())
    check("loss", precision, torch.tensor(ours.loss), torch.tensor(theirs.loss), torch.tensor(theirs.loss))
    assert ours.gradients.keys() == theirs.gradients.keys()
    for name, gradient in theirs.gradients.items():
        check("gradients", precision, ours.gradients[name], gradient, gradient.abs().max())


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
