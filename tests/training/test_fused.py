"""Fused norms, activations and rotary embeddings against transformers' own, one by one and inside models."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import (
    GemmaConfig,
    GemmaForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
)
from transformers.models.gemma.modeling_gemma import GemmaRMSNorm
from transformers.models.llama import modeling_llama
from transformers.models.llama.modeling_llama import LlamaRMSNorm, apply_rotary_pos_emb

from lidr.training import fused, fusing

SHAPE = {
    "vocab_size": 61,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "initializer_range": 0.3,
    "pad_token_id": 0,
}
FAMILIES = [(LlamaConfig, LlamaForCausalLM), (Qwen2Config, Qwen2ForCausalLM), (GemmaConfig, GemmaForCausalLM)]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@contextmanager
def fused_model(model: nn.Module) -> Iterator[None]:
    fusing.fuse(model)
    with fusing.fused_rotary(model):
        yield


def with_gradients(function: Callable[..., Tensor], *inputs: Tensor) -> list[Tensor]:
    """The output, and the gradients of its weighted sum."""
    leaves = [t.clone().requires_grad_() for t in inputs]
    out = function(*leaves)
    out.backward(normal(*out.shape, seed=9).to(out.dtype))
    return [out.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)]


def assert_alike(ours: list[Tensor], theirs: list[Tensor], tolerance: float = 1e-5) -> None:
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        scale = other.abs().max().item()
        torch.testing.assert_close(mine, other, rtol=tolerance, atol=tolerance * max(scale, 0.1))


@settings(deadline=None, max_examples=20)
@given(rows=st.integers(1, 9), width=st.integers(2, 40), piece=st.integers(1, 100))
def test_norm(rows: int, width: int, piece: int) -> None:
    theirs = LlamaRMSNorm(width, eps=1e-5)
    x, weight = normal(2, rows, width), normal(width, seed=1)

    def plain(x: Tensor, weight: Tensor) -> Tensor:
        theirs.weight = nn.Parameter(weight.detach())
        out = torch.func.functional_call(theirs, {"weight": weight}, (x,))
        assert isinstance(out, Tensor)
        return out

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused, "_PIECE", piece)
        ours = with_gradients(lambda x, w: fused.rms_norm(x, w, 1e-5, 0.0), x, weight)
    assert_alike(ours, with_gradients(plain, x, weight))


def test_a_norm_by_hand() -> None:
    """[3, 4]: mean square 12.5, so [3, 4] / sqrt(12.5) = [0.848528, 1.131371], times (1 + [1, 0])."""
    out = fused.rms_norm(torch.tensor([3.0, 4.0]), torch.tensor([1.0, 0.0]), 0.0, 1.0)
    torch.testing.assert_close(out, torch.tensor([1.697056, 1.131371]))


@pytest.mark.parametrize("least", [1.0, 0.0], ids=["as it is", "one weight is 0"])
def test_a_norm_in_bf16_keeps_its_output_unless_a_weight_is_0(least: float) -> None:
    """Gradients within bf16's rounding either way; measured 3e-3."""
    x, weight = normal(5, 24), normal(24, seed=1).sign() * torch.linspace(least, 2, 24)
    kept: list[Tensor] = []

    def norm(x: Tensor, weight: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return fused.rms_norm(x, weight, 1e-5, 0.0)

    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        ours = with_gradients(norm, x, weight)
    exact = with_gradients(lambda x, w: fused.rms_norm(x, w, 1e-5, 0.0), x, weight)
    assert kept[0].dtype is (torch.bfloat16 if least else torch.float32)
    for mine, other in zip(ours, exact, strict=True):
        assert (mine.float() - other).norm() <= 1e-2 * other.norm()


def test_copies_of_weights_are_made_before_the_first_forward() -> None:
    """So that the forward makes none but of what `swiglu_down` and the head cast themselves."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlamaForCausalLM(LlamaConfig(**SHAPE)).eval()
    expected = step(model, autocast=True)[1]
    model.zero_grad()
    ids = torch.arange(40).reshape(2, 20) % 61
    with fused_model(model), torch.autocast("cpu", torch.bfloat16):
        fusing.make_copies(model)
        with torch.profiler.profile(
            activities=[torch.profiler.ProfilerActivity.CPU], record_shapes=True
        ) as seen:
            logits = model(input_ids=ids).logits.float()
        (logits * normal(*logits.shape)).mean().backward()
    shapes = {tuple(e.input_shapes[0]) for e in seen.events() or [] if e.name == "aten::_to_copy"}
    layer = model.model.layers[0]
    assert tuple(layer.mlp.down_proj.weight.shape) in shapes
    assert not {tuple(m.weight.shape) for m in (layer.self_attn.k_proj, layer.mlp.up_proj)} & shapes
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        assert (parameter.grad - expected[name]).norm() <= 3e-2 * expected[name].norm(), name


def test_gated_activation() -> None:
    gate, up = normal(3, 7, 5), normal(3, 7, 5, seed=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused, "_PIECE", 12)
        ours = with_gradients(fused.swiglu, gate, up)
    assert_alike(ours, with_gradients(lambda g, u: nn.functional.silu(g) * u, gate, up))


def test_rotary_embedding() -> None:
    """Also where the two halves of the angles differ, which no model has."""
    x, cos, sin = normal(2, 3, 7, 8), normal(2, 7, 8, seed=1), normal(2, 7, 8, seed=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused, "_PIECE", 50)
        ours = with_gradients(lambda x: fused.rotate(x, cos, sin), x)
    assert_alike(ours, with_gradients(lambda x: apply_rotary_pos_emb(x, x, cos, sin)[0], x))


def step(model: PreTrainedModel, autocast: bool) -> tuple[Tensor, dict[str, Tensor]]:
    model.zero_grad()
    ids = torch.arange(40).reshape(2, 20) % 61
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        logits = model(input_ids=ids).logits.float()
    (logits * normal(*logits.shape)).mean().backward()
    return logits.detach(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(("autocast", "tolerance"), [(False, 1e-5), (True, 3e-2)], ids=["fp32", "bf16"])
@pytest.mark.parametrize(("config", "family"), FAMILIES, ids=lambda x: x.__name__)
def test_models_compute_the_same(
    config: type, family: type[PreTrainedModel], autocast: bool, tolerance: float
) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = family(config(**SHAPE)).eval()
    plain = copy.deepcopy(model)
    expected, their_gradients = step(plain, autocast)
    with fused_model(model):
        assert any("forward" in vars(module) for module in model.modules())
        logits, gradients = step(model, autocast)
    assert gradients.keys() == their_gradients.keys()
    assert (logits - expected).norm() <= tolerance * expected.norm()
    for name, gradient in gradients.items():
        assert (gradient - their_gradients[name]).norm() <= tolerance * their_gradients[name].norm(), name


def test_less_is_kept_for_the_backward() -> None:
    def kept(model: nn.Module) -> int:
        sizes: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            sizes[storage.data_ptr()] = storage.nbytes()
            return tensor

        with (
            torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t),
            torch.autocast("cpu", torch.bfloat16),
        ):
            model(input_ids=torch.arange(60)[None]).logits.float().mean()
        return sum(sizes.values())

    model = LlamaForCausalLM(LlamaConfig(**SHAPE)).eval()
    before = kept(model)
    with fused_model(model):
        assert kept(model) < 0.75 * before


def test_gemma_adds_one_to_its_weight() -> None:
    norm = GemmaRMSNorm(6)
    expected = norm(normal(2, 6))
    fusing.fuse(norm)
    assert "forward" in vars(norm)
    torch.testing.assert_close(norm(normal(2, 6)), expected)


class OtherRMSNorm(LlamaRMSNorm):
    """Named like a norm, computes something else."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        out = 2 * super().forward(hidden_states)
        assert isinstance(out, Tensor)
        return out


def test_what_computes_something_else_is_left_alone() -> None:
    norm = OtherRMSNorm(6)
    fusing.fuse(norm)
    assert "forward" not in vars(norm)


def test_the_rotary_embedding_is_put_back() -> None:
    model = LlamaForCausalLM(LlamaConfig(**SHAPE))
    original = modeling_llama.apply_rotary_pos_emb
    with fusing.fused_rotary(model), fusing.fused_rotary(model):
        assert modeling_llama.apply_rotary_pos_emb is not original
    assert modeling_llama.apply_rotary_pos_emb is original
