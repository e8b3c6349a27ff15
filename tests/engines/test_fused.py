"""Layers in few calls against the layers' own code, and each row of them alone."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import PreTrainedModel

from lidr.engines.cached_attention import Embeddings, Turns
from lidr.engines.cohort import NO_PREFIX
from lidr.engines.decoder import Decoder
from lidr.engines.fused import FusedLayer, has_form
from lidr.engines.fused_cuda import CudaLayer, has_cuda_form
from lidr.engines.laid_out import LaidOut
from lidr.engines.product import Product
from tests import tiny
from tests.engines.processors import LAID_OUT
from tests.training import cases

TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.05}
PROMPTS = [list(range(5, 40)), list(range(70, 80))]


def fused(model: PreTrainedModel) -> list[FusedLayer]:
    """Layers that are computed here now."""
    return [own for m in model.modules() if isinstance(own := vars(m).get("forward"), FusedLayer)]


@torch.inference_mode()
def logits(model: PreTrainedModel) -> Tensor:
    """After two prompts and after two tokens more."""
    decoder = Decoder(model)
    cohort, first = decoder.admit(PROMPTS, [NO_PREFIX, NO_PREFIX])
    cohort.begin([7, 8])
    second = decoder.step([cohort.queries()])
    cohort.go_on([[9], [10]])
    return torch.cat([first, second, decoder.step([cohort.queries()])])


@pytest.mark.parametrize("dtype", LAID_OUT)
@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2"])
def test_logits_are_those_of_the_layers_own_code(family: str, dtype: torch.dtype) -> None:
    model = cases.model(family).to(dtype)
    expected = logits(model)
    with LaidOut(model).used():
        assert len(fused(model)) == model.config.num_hidden_layers
        found = logits(model)
    assert (found - expected).abs().max() <= TOLERANCE[dtype] * (expected.max() - expected.min())
    assert torch.equal(logits(model), expected)


@torch.inference_mode()
def test_without_a_pass_a_layer_is_its_own() -> None:
    model = tiny.model()
    ids = torch.tensor(PROMPTS[:1])
    expected = model(input_ids=ids).logits
    with LaidOut(model).used():
        torch.testing.assert_close(model(input_ids=ids).logits, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", ["gemma", "cohere"])
def test_layers_of_another_form_are_left_alone(family: str) -> None:
    model = cases.model(family)
    with LaidOut(model).used():
        assert fused(model) == []


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_layers_with_adapters_or_another_activation_are_left_alone() -> None:
    adapted = get_peft_model(tiny.model(), LoraConfig(r=2, target_modules=["v_proj"]))
    assert not any(map(has_form, adapted.modules()))
    layer = tiny.model().model.layers[0]
    assert has_form(layer)
    layer.self_attn.config.hidden_act = "gelu"
    assert not has_form(layer)


class Echo:
    """A pass whose attention is the query."""

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float, embeddings: Embeddings
    ) -> Tensor:
        return (query * scale).contiguous()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", LAID_OUT)
@torch.inference_mode()
def test_a_row_is_the_same_among_any_number_of_rows(dtype: torch.dtype, threads: int) -> None:
    """Passes are filled up to multiples of four rows a thread."""
    torch.set_num_threads(threads)
    model = cases.model("llama").to(dtype)
    layer, width = model.model.layers[0], model.model.layers[0].self_attn.head_dim
    rows = torch.randn(1, 1024, model.config.hidden_size).to(dtype)
    angles = torch.rand(1, 1024, width // 2).repeat(1, 1, 2)
    cos, sin = angles.cos().to(dtype), angles.sin().to(dtype)
    with LaidOut(model).used():
        expected = layer(rows, position_embeddings=(cos, sin), lidr_pass=Echo())
        for count in range(8, 300, 8):
            few = (cos[:, :count], sin[:, :count])
            found = layer(rows[:, :count].contiguous(), position_embeddings=few, lidr_pass=Echo())
            assert torch.equal(found, expected[:, :count])
    torch.set_num_threads(1)


def test_a_turn_by_hand() -> None:
    """(1, 2) turned by 90 degrees is (-2, 1); positions of another pass are not those of the last one."""
    heads = torch.tensor([[[1.0, 2.0]]])
    turns, zero, one = Turns(), torch.zeros(1, 1, 2), torch.ones(1, 1, 2)
    assert turns.turned(heads, (zero, one)).tolist() == [[[-2.0, 1.0]]]
    assert turns.turned(heads, (one.clone(), zero)).tolist() == [[[1.0, 2.0]]]


@torch.inference_mode()
def test_products_by_hand() -> None:
    """x W^T + b = 3 * 2 + 1 = 7; plus 1, times 2, and 7 / (1 + e^-7)."""
    product = Product(torch.full((1, 1), 2.0), torch.ones(1))
    x, other = torch.full((1, 1), 3.0), torch.full((1, 1), 2.0)
    assert product(x).item() == 7
    assert product.plus(x, other).item() == 9
    assert product.times(x, other).item() == 14
    assert product.activated(x).item() == pytest.approx(7 / (1 + 2.718281828**-7), rel=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2"])
def test_layers_for_cuda_give_the_same(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By PyTorch's operators where there are no kernels; Qwen2's have a bias."""
    model = cases.model(family)
    expected = logits(model)
    layers = list(filter(has_cuda_form, model.modules()))
    assert len(layers) == model.config.num_hidden_layers
    for layer in layers:
        monkeypatch.setattr(layer, "forward", CudaLayer(layer), raising=False)
    torch.testing.assert_close(logits(model), expected, rtol=1e-4, atol=1e-4)
