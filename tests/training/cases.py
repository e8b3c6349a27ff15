"""Token pairs of unlike lengths, tiny random models of several families, and log-probs by their definition."""

from __future__ import annotations

import copy
from array import array
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    CohereConfig,
    Gemma2Config,
    GemmaConfig,
    GPT2Config,
    GptOssConfig,
    LlamaConfig,
    MistralConfig,
    PretrainedConfig,
    PreTrainedModel,
    Qwen2Config,
)

from lidr.config import PairType
from lidr.training.pairs import TokenPair

VOCABULARY = 97
# Tokens of prompt, chosen and rejected: prompts longer and shorter than the responses, and responses of one token.
LENGTHS = ((5, 7, 4), (12, 1, 6), (3, 14, 9), (17, 5, 1), (8, 8, 8), (2, 3, 21))
# Queries and keys in groups, and weights so large that a wrong key would be seen.
SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.2,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
}
_ENDS = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
FAMILIES: dict[str, PretrainedConfig] = {
    "llama": LlamaConfig(**SHAPE),
    "one-layer-llama": LlamaConfig(**{**SHAPE, "num_hidden_layers": 1}),
    "tied-llama": LlamaConfig(**SHAPE, tie_word_embeddings=True),
    "qwen2": Qwen2Config(**SHAPE),
    "gemma": GemmaConfig(**SHAPE, head_dim=16),
    "gemma2": Gemma2Config(
        **SHAPE, head_dim=16, attn_logit_softcapping=1.0, final_logit_softcapping=3.0, sliding_window=128
    ),
    "cohere": CohereConfig(**SHAPE, logit_scale=0.25),
    "mistral": MistralConfig(**SHAPE, sliding_window=128),
    "mistral-window": MistralConfig(**SHAPE, sliding_window=6),
    "gpt2": GPT2Config(
        vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=128, initializer_range=0.2, **_ENDS
    ),
    "bloom": BloomConfig(
        vocab_size=VOCABULARY, hidden_size=32, n_layer=2, n_head=4, initializer_range=0.2, **_ENDS
    ),
    "gpt-oss": GptOssConfig(
        **SHAPE,
        head_dim=16,
        num_local_experts=2,
        num_experts_per_tok=1,
        sliding_window=128,
        rope_parameters={"rope_type": "default", "rope_theta": 1e4},
    ),
}


def model(family: str = "llama", seed: int = 0) -> PreTrainedModel:
    """In evaluation mode, fp32; every parameter is drawn anew, so that no bias is 0 and no norm's weight 1."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        built: PreTrainedModel = AutoModelForCausalLM.from_config(copy.deepcopy(FAMILIES[family]))
        with torch.no_grad():
            for parameter in built.parameters():
                if parameter.ndim == 1:
                    parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return built.eval()


def token_pairs_of(*lengths: tuple[int, int, int], seed: int = 0) -> tuple[TokenPair, ...]:
    """Pairs of random tokens, none of them a special one."""
    generator = torch.Generator().manual_seed(seed)

    def ids(count: int) -> array[int]:
        return array("i", torch.randint(3, VOCABULARY, (count,), generator=generator).tolist())

    return tuple(
        TokenPair(f"p{i}", ("en", "es")[i % 2], PairType.NL, *(ids(count) for count in three))
        for i, three in enumerate(lengths)
    )


def definition(model: nn.Module, pairs: tuple[TokenPair, ...]) -> Tensor:
    """log pi(y|x), chosen ones first: a sequence at a time, all its logits, their log-softmax in fp32."""
    sums = []
    for prompt, response in [(p.prompt, p.chosen) for p in pairs] + [(p.prompt, p.rejected) for p in pairs]:
        logits = model(input_ids=torch.tensor([[*prompt, *response]])).logits[0].float()
        log_probs = logits.log_softmax(-1)[len(prompt) - 1 : -1]
        sums.append(log_probs[range(len(response)), list(response)].sum())
    return torch.stack(sums)
