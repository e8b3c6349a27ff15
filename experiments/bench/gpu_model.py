"""Llama shapes with random weights and a tokenizer that turns text into any token ids.

    python -m experiments.bench.gpu_model FOLDER SHAPE DEVICE

Time and memory of a training do not depend on the values of the weights, and the real tokenizers are gated.
The tokenizer is word-level: `w17 w42` are two tokens; both trainers run from text, unchanged.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

from experiments.bench.scale import MODELS
from lidr.training.shapes import ModelShape

SPECIAL = ("<pad>", "<s>", "<|user|>", "<|assistant|>", "<|end|>")
TEMPLATE = (
    "<s>{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}"
    "{% if m['role'] == 'assistant' %}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
TEMPLATE_TOKENS = 3  # <s><|user|>...<|assistant|>; a response ends with one more


SHAPES = {
    "llama3-8b": MODELS["8B"],
    "tiny": ModelShape(2, 64, 4, 2, 16, 128, 1024, tied=False),
}


def words(shape: ModelShape) -> int:
    """Token ids that are no special tokens."""
    return shape.vocabulary - len(SPECIAL)


def llama(shape: ModelShape) -> LlamaConfig:
    """A shape's configuration."""
    return LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=8192,
        rope_parameters={"rope_type": "default", "rope_theta": 500000.0},
        head_dim=shape.head_dim,
        tie_word_embeddings=shape.tied,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=4,
    )


def build(folder: Path, shape: ModelShape, device: str) -> None:
    """Writes weights (bf16) and tokenizer."""
    torch.manual_seed(0)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(llama(shape), dtype=torch.bfloat16)
    model.save_pretrained(folder)
    tokenizer(words(shape)).save_pretrained(folder)


def tokenizer(count: int) -> PreTrainedTokenizerFast:
    """Special tokens first, then `w0`, `w1`, ..."""
    vocabulary = {token: i for i, token in enumerate([*SPECIAL, *(f"w{i}" for i in range(count))])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    found = PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token="<s>", eos_token="<|end|>", pad_token="<pad>"
    )
    found.add_special_tokens({"additional_special_tokens": list(SPECIAL[2:4])})
    found.chat_template = TEMPLATE
    return found


if __name__ == "__main__":
    build(Path(sys.argv[1]), ModelShape(**json.loads(sys.argv[2])), sys.argv[3])
