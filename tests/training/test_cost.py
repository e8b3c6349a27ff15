"""The counted costs against real models: parameters, bytes kept for the backward, operations, and the choice."""

from __future__ import annotations

import runpy
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig

from lidr.config import Layout, Logits
from lidr.training import cost, fusing
from lidr.training.cost import GIB, choose
from lidr.training.segments import Segment, Segments
from lidr.training.shapes import ModelShape, Settings, Work, causal, flops, traffic
from lidr.training.support import use_layout

ROOT = Path(__file__).parents[2]
LLAMA_8B = ModelShape(32, 4096, 32, 8, 128, 14336, 128256, tied=False)  # its config.json
LLAMA_70B = ModelShape(80, 8192, 64, 8, 128, 28672, 128256, tied=False)
SIZES = {
    "vocab_size": 96,
    "hidden_size": 128,
    "intermediate_size": 320,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
FULL, FULL_BF16 = Settings(bf16=False), Settings(bf16=True)
LORA, LORA_BF16 = Settings(bf16=False, lora_rank=8), Settings(bf16=True, lora_rank=8)
NARROW = replace(LORA_BF16, lora_targets=("q_proj", "v_proj"))
SETTINGS = {"fp32": FULL, "bf16": FULL_BF16, "lora fp32": LORA, "lora bf16": LORA_BF16, "lora q v": NARROW}


def model_of(config: PretrainedConfig) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: nn.Module = AutoModelForCausalLM.from_config(config)
    return model.eval()


def shape_of(config: PretrainedConfig) -> ModelShape:
    shape = ModelShape.of(config)
    assert shape is not None
    return shape


def config_of(kind: str, **more: Any) -> PretrainedConfig:
    made: PretrainedConfig = AutoConfig.for_model(kind, **SIZES, **more)
    return made


CONFIGS = {
    "llama": config_of("llama"),
    "llama tied": config_of("llama", tie_word_embeddings=True),
    "llama with biases": config_of("llama", attention_bias=True, mlp_bias=True),
    "mistral": config_of("mistral"),
    "qwen2": config_of("qwen2"),
    "qwen3": config_of("qwen3", head_dim=48),
    "gemma": config_of("gemma", head_dim=48),
    "gemma2": config_of("gemma2", head_dim=48),
    "gemma3": config_of("gemma3_text", head_dim=48),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_parameters_are_those_of_the_model(name: str) -> None:
    model, shape = model_of(CONFIGS[name]), shape_of(CONFIGS[name])
    assert shape.parameters == sum(p.numel() for p in model.parameters())
    body: Any = model.get_submodule("model")
    assert shape.body == sum(p.numel() for n, p in body.named_parameters() if "embed_tokens" not in n)
    assert shape.embedding == body.embed_tokens.weight.numel()
    assert shape.head == (0 if shape.tied else shape.embedding)


def test_parameters_of_llama_3() -> None:
    assert LLAMA_8B.parameters == 8_030_261_248
    assert LLAMA_70B.parameters == 70_553_706_496


def test_a_model_that_is_not_such_a_decoder_has_no_shape() -> None:
    others = [AutoConfig.for_model("gpt2"), config_of("mixtral", num_local_experts=2), PretrainedConfig()]
    assert [ModelShape.of(config) for config in others] == [None] * 3


@pytest.mark.parametrize("settings", [LORA_BF16, NARROW], ids=["all", "q and v"])
def test_adapter_parameters(settings: Settings) -> None:
    config = CONFIGS["qwen2"]
    model = trained(config, settings)
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert settings.adapter(shape_of(config)) == trainable


def trained(config: PretrainedConfig, settings: Settings) -> nn.Module:
    """As the training loads it."""
    model: Any = model_of(config)
    if not settings.lora:
        return model
    targets = list(settings.lora_targets) or "all-linear"
    lora = LoraConfig(r=settings.lora_rank, target_modules=targets, task_type="CAUSAL_LM")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return get_peft_model(model.to(torch.bfloat16) if settings.bf16 else model, lora)


def kept_bytes(model: Any, settings: Settings, tokens: int, **more: bool) -> int:
    """Bytes of all storages that the body's forward keeps for the backward, without parameters and buffers."""
    body = (model.get_base_model() if settings.lora else model).model
    own = {t.untyped_storage().data_ptr() for t in [*model.parameters(), *model.buffers()]}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept.setdefault(tensor.untyped_storage().data_ptr(), tensor)  # held, so that no address comes twice
        return tensor

    ids = torch.arange(tokens)[None] % SIZES["vocab_size"]
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t),
        torch.autocast("cpu", torch.bfloat16, enabled=settings.bf16),
    ):
        packed = Segments([Segment(0, tokens, 0, 0)])
        output = body(input_ids=ids, use_cache=False, packed_segments=packed, **more)
        assert output.last_hidden_state.requires_grad
    return sum(t.untyped_storage().nbytes() for at, t in kept.items() if at not in own)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("name", ["llama", "llama with biases", "qwen2", "qwen3", "gemma"])
def test_what_a_forward_keeps_is_what_is_counted(name: str, settings: Settings) -> None:
    """Two lengths tell what is kept per token from autocast's copies of the weights.

    Full training is exact; under LoRA the first norm keeps nothing, since nothing before it trains.
    """
    config, shape = CONFIGS[name], shape_of(CONFIGS[name])
    model = trained(config, settings)
    short, long = kept_bytes(model, settings, 64), kept_bytes(model, settings, 192)
    counted = cost.activations(shape, settings, 128, 0, checkpointing=False).total
    assert counted == pytest.approx(long - short, rel=0.05 if settings.lora else 1e-9)
    if settings == FULL_BF16:
        copies = cost.state(shape, settings).copies - 2 * shape.embedding  # the head is not in this forward
        assert copies == pytest.approx(short - counted / 2, rel=0.01)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("name", ["llama", "qwen3", "gemma"])
def test_what_a_fused_forward_keeps_is_what_is_counted(name: str, settings: Settings) -> None:
    """With packed attention, as in a training."""
    config, shape, fused = CONFIGS[name], shape_of(CONFIGS[name]), replace(settings, fused=True, cpu=True)
    model = trained(config, settings)
    fusing.fuse(model)
    use_layout(model, Layout.SHARED)
    with fusing.fused_rotary(model):
        kept = kept_bytes(model, settings, 192) - kept_bytes(model, settings, 64)
    counted = cost.activations(shape, fused, 128, 0, checkpointing=False).total
    assert counted == pytest.approx(kept, rel=0.07 if settings.lora else 0.01)


@pytest.mark.parametrize("settings", [FULL, FULL_BF16], ids=["fp32", "bf16"])
def test_attention_keeps_no_more_weights_than_counted(settings: Settings) -> None:
    """Blocks of 128 queries take at most 127 keys too many for each."""
    config, shape = CONFIGS["llama"], shape_of(CONFIGS["llama"])
    model = trained(config, settings)
    use_layout(model, Layout.SHARED)
    kept = kept_bytes(model, settings, 300, keep_weights=True) - kept_bytes(model, settings, 300)
    exact = shape.layers * shape.heads * settings.compute
    assert kept == exact * (128 * 128 + 128 * 256 + 44 * 300)
    assert exact * causal(300) < kept < cost.softmax_bytes(shape, settings, 300, causal(300))


@pytest.mark.parametrize("settings", [FULL, FULL_BF16], ids=["fp32", "bf16"])
def test_what_checkpointing_keeps_is_what_is_counted(settings: Settings) -> None:
    """The reentrant kind, whose inputs the hooks see, though not the rotary tables.

    The block that is computed again comes on top.
    """
    config, shape = CONFIGS["llama"], shape_of(CONFIGS["llama"])
    model: Any = trained(config, settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # its new name is not in transformers 5.17
        model.gradient_checkpointing_enable({"use_reentrant": True})
    model.train()
    kept = kept_bytes(model, settings, 192) - kept_bytes(model, settings, 64)
    counted = cost.activations(shape, settings, 128, 0, checkpointing=True)
    rotary = 128 * 2 * 4 * shape.head_dim
    assert counted.inputs + counted.ends == kept + rotary
    whole = cost.activations(shape, settings, 128, 0, checkpointing=False)
    assert counted.blocks * shape.layers == whole.blocks


def test_state_of_llama_3_8b() -> None:
    """16 bytes a parameter in full; under LoRA 2 for the base and 16 for the adapter's 42 million."""
    n, adapter = LLAMA_8B.parameters, 41_943_040
    full, lora = FULL_BF16, Settings(bf16=True, lora_rank=16)
    held = cost.state(LLAMA_8B, full)
    assert held.total - held.copies == 16 * n == 128_484_179_968
    assert lora.adapter(LLAMA_8B) == adapter
    assert cost.state(LLAMA_8B, lora).total == 2 * n + 16 * adapter + 2 * adapter
    assert cost.state(LLAMA_8B, FULL).total == 16 * n


def test_devices_divide_the_state_under_fsdp_only() -> None:
    ddp, fsdp = replace(FULL_BF16, devices=8), replace(FULL_BF16, devices=8, sharded=True)
    assert cost.state(LLAMA_8B, ddp) == cost.state(LLAMA_8B, FULL_BF16)
    held = cost.state(LLAMA_8B, fsdp)
    assert held.weights + held.gradients + held.optimizer == 2 * LLAMA_8B.parameters
    root = 2 * 128256 * 4096 + 4096
    assert (held.copies, held.gathered) == (0, 2 * (root + 2 * LLAMA_8B.block + root))
    assert cost.state(LLAMA_8B, replace(fsdp, devices=1)) == cost.state(LLAMA_8B, FULL_BF16)


def test_logits() -> None:
    """A chunk of 128,256 columns is 261 rows."""
    kept = cost.logits_bytes(LLAMA_8B, LORA_BF16, 1000, Logits.KEPT)
    chunked = cost.logits_bytes(LLAMA_8B, LORA_BF16, 1000, Logits.CHUNKED)
    assert kept == 128256 * (1000 * 2 + 261 * 4)
    assert chunked == 128256 * 261 * (2 + 4)
    assert cost.logits_bytes(LLAMA_8B, LORA_BF16, 9, Logits.CHUNKED) == 128256 * 9 * 6
    assert cost.logits_bytes(LLAMA_8B, FULL_BF16, 1000, Logits.KEPT) == kept + 2 * 128256 * 4096


@pytest.mark.parametrize("settings", [FULL, LORA], ids=["full", "lora"])
def test_operations_are_those_that_torch_counts(settings: Settings) -> None:
    """Eager attention, which computes every pair of query and key, and the head at every token."""
    config, time = config_of("llama", attn_implementation="eager"), 48
    model = trained(config, settings)
    counted = flops(shape_of(config), settings, Work(time, time, time * time), reference=False)
    ids = torch.arange(time)[None]
    with FlopCounterMode(display=False) as forward:
        loss = model(input_ids=ids, use_cache=False).logits.sum()
    with FlopCounterMode(display=False) as backward:
        loss.backward()
    assert counted.forward == pytest.approx(forward.get_total_flops(), rel=0.01)
    assert counted.backward == pytest.approx(backward.get_total_flops(), rel=0.05)


def test_the_limits_per_token() -> None:
    """Full 6 N and LoRA 4 N, checkpointing and the reference 2 N each, where N dwarfs attention and head."""
    shape, work, lora = replace(LLAMA_8B, vocabulary=1), Work(1000, 1, 1), Settings(bf16=True, lora_rank=1)
    expected = {
        (FULL_BF16, False, False): 6,
        (FULL_BF16, False, True): 8,
        (FULL_BF16, True, True): 10,
        (lora, False, False): 4,
        (lora, False, True): 6,
    }
    for (settings, again, reference), factor in expected.items():
        total = flops(shape, settings, work, checkpointing=again, reference=reference).total
        assert total / (shape.matrices * work.tokens) == pytest.approx(factor, rel=2e-3)


def test_chunked_logits_are_computed_twice_only_where_the_head_trains() -> None:
    work = Work(10, 4, 55)
    assert flops(LLAMA_8B, FULL_BF16, work, chunked=True).recompute == 2 * 128256 * 4096 * 4
    assert flops(LLAMA_8B, LORA_BF16, work, chunked=True).recompute == 0


def test_work_of_a_pair_is_that_of_its_segments() -> None:
    """[prompt | chosen | rejected] of 2, 1 and 3: 1 + 2, then 2 + 1, then 3 + 4 + 5 pairs of query and key."""
    assert Work.of_pair(2, 1, 3).times(2) == Work(2 * 6, 2 * 4, 2 * 18)
    assert causal(4) == 10


def test_traffic() -> None:
    ddp = replace(FULL_BF16, devices=8)
    n = LLAMA_8B.parameters
    assert sum(traffic(LLAMA_8B, FULL_BF16, 4)) == 0
    assert traffic(LLAMA_8B, ddp, 4) == (0, 7 * n)
    assert traffic(LLAMA_8B, replace(ddp, sharded=True), 3) == (3 * 2 * 2 * n * 7 // 8, 3 * 2 * n * 7 // 8)
    lora = Settings(bf16=True, lora_rank=16, devices=8)
    assert traffic(LLAMA_8B, lora, 1).reduced == 7 * 41_943_040


TOKENS, COMPLETIONS = 4096, 3900
LORA_8B = Settings(bf16=True, lora_rank=16)
WAYS = [(Logits.KEPT, False), (Logits.CHUNKED, False), (Logits.KEPT, True), (Logits.CHUNKED, True)]


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_the_first_way_that_fits_is_chosen(way: tuple[Logits, bool]) -> None:
    needed = cost.memory(LLAMA_8B, LORA_8B, TOKENS, COMPLETIONS, *way).total
    choice = choose(LLAMA_8B, LORA_8B, TOKENS, COMPLETIONS, needed + 1, share=1.0)
    assert (choice.logits, choice.checkpointing, choice.fits) == (*way, True)
    assert choice.reason.count("would need") == WAYS.index(way)


def test_the_reason_has_the_numbers() -> None:
    choice = choose(LLAMA_8B, LORA_8B, TOKENS, COMPLETIONS, 80 * GIB)
    assert choice.reason == (
        "logits kept, no checkpointing: 43.36 GiB (state 15.66, activations 26.64, logits 1.06) fit into"
        " 68.00 GiB (85 % of 80.00 GiB free)"
    )
    tight = choose(LLAMA_8B, LORA_8B, TOKENS, COMPLETIONS, 8 * GIB)
    assert (tight.logits, tight.checkpointing, tight.fits) == ("chunked", True, False)
    assert "do not fit into 6.80 GiB" in tight.reason


def test_weights_on_the_device_are_not_needed_again() -> None:
    resident = 2 * LLAMA_8B.parameters
    choice = choose(LLAMA_8B, LORA_8B, TOKENS, COMPLETIONS, 40 * GIB, resident_bytes=resident)
    assert (choice.logits, choice.checkpointing) == ("kept", False)
    assert choose(LLAMA_8B, LORA_8B, TOKENS, COMPLETIONS, 40 * GIB).checkpointing


def test_what_was_asked_for_is_kept() -> None:
    def chosen(gib: int, **asked: Any) -> tuple[str, bool, bool]:
        choice = choose(LLAMA_8B, LORA_8B, TOKENS, COMPLETIONS, gib * GIB, **asked)
        return choice.logits, choice.checkpointing, choice.fits

    assert chosen(8, logits=Logits.KEPT, checkpointing=False) == ("kept", False, False)
    assert chosen(800, logits=Logits.CHUNKED) == ("chunked", False, True)
    assert chosen(800, checkpointing=True) == ("kept", True, True)


def test_an_unknown_model_gets_what_needs_the_least() -> None:
    choice = choose(None, FULL, 100, 50, 800 * GIB)
    assert (choice.logits, choice.checkpointing, choice.fits) == ("chunked", True, True)
    assert "cannot be counted" in choice.reason
    assert not choose(None, FULL, 100, 50, GIB, checkpointing=False).checkpointing


def test_the_page_holds_what_the_script_prints(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    script = runpy.run_path(str(ROOT / "experiments" / "bench" / "scale.py"))
    script["main"]([])
    printed = capsys.readouterr().out
    assert printed.count("\n| ") > 20
    assert page.split(script["START"])[1].split(script["END"])[0] == printed
    copy = tmp_path / "scale.md"
    copy.write_text(page, encoding="utf-8")
    for words, found in ((["--fraction", "0.35"], "time at 35 %"), ([], page)):
        script["main"]([*words, "--write", str(copy)])
        assert found in copy.read_text(encoding="utf-8")


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("keys", [0, 300])
def test_what_the_first_micro_batch_may_have_more_is_worth_the_gradients(
    settings: Settings, keys: int
) -> None:
    """To the token: so many more than 500 tokens without gradients in memory, as 500 with them."""

    def kept(tokens: int) -> int:
        parts = cost.memory(LLAMA_8B, settings, tokens, tokens, Logits.KEPT, checkpointing=False)
        return parts.total + cost.softmax_bytes(LLAMA_8B, settings, tokens, tokens * keys)

    settings = replace(settings, fused=True, cpu=True)
    ahead, gradients = cost.ahead(LLAMA_8B, settings, keys), cost.state(LLAMA_8B, settings).gradients
    assert kept(500 + ahead) - gradients <= kept(500) < kept(500 + ahead + 1) - gradients
    assert (ahead > 1000) is not settings.lora
