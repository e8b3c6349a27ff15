"""Llama shapes with random weights and a tokenizer that turns text into any token ids.

    python -m experiments.bench.gpu_model FOLDER SHAPE LAYERS DEVICE

Time and memory of a training do not depend on the values of the weights, and the real tokenizers are gated.
The tokenizer is word-level: `w17 w42` are two tokens; both trainers run from text, unchanged.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

SPECIAL = ("<pad>", "<s>", "<|user|>", "<|assistant|>", "<|end|>")
TEMPLATE = (
    "<s>{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}"
    "{% if m['role'] == 'assistant' %}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
TEMPLATE_TOKENS = 3  # <s><|user|>...<|assistant|>; a response ends with one more


@dataclass(frozen=True)
class Shape:
    """A Llama decoder."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    intermediate: int
    vocabulary: int

    @property
    def words(self) -> int:
        """Token ids that are no special tokens."""
        return self.vocabulary - len(SPECIAL)

    @property
    def body(self) -> int:
        """Parameters of the blocks' matrices."""
        kv = self.hidden * self.kv_heads // self.heads
        return self.layers * (2 * self.hidden * (self.hidden + kv) + 3 * self.hidden * self.intermediate)


SHAPES = {
    "llama3-8b": Shape(4096, 32, 32, 8, 14336, 128256),
    "tiny": Shape(64, 2, 4, 2, 128, 1024),
}


def flops(shape: Shape, rows: Sequence[tuple[int, int]], *, lora: bool) -> float:
    """Operations of forward and backward over (tokens, response tokens) of each row.

    Matrices of the blocks: 2 a parameter and token forward, 2 for the gradient of the input, 2 for that of the
    weight, which LoRA's frozen matrices do not need: 6N, or 4N. The head likewise, at response tokens only.
    Attention, causal: 2 * hidden * tokens^2 a block forward, twice that backward. The adapters' own
    operations, norms and the optimizer are left out, so the fraction of peak is a little too low.
    """
    per_parameter = 4 if lora else 6
    total = 0.0
    for tokens, response in rows:
        total += per_parameter * (shape.body * tokens + shape.hidden * shape.vocabulary * response)
        total += 6 * shape.layers * shape.hidden * tokens**2
    return total


def build(folder: Path, shape: Shape, device: str) -> None:
    """Writes weights (bf16) and tokenizer."""
    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=8192,
        rope_parameters={"rope_type": "default", "rope_theta": 500000.0},
        tie_word_embeddings=False,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=4,
    )
    torch.manual_seed(0)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    tokenizer(shape.words).save_pretrained(folder)


def tokenizer(words: int) -> PreTrainedTokenizerFast:
    """Special tokens first, then `w0`, `w1`, ..."""
    vocabulary = {token: i for i, token in enumerate([*SPECIAL, *(f"w{i}" for i in range(words))])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    found = PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token="<s>", eos_token="<|end|>", pad_token="<pad>"
    )
    found.add_special_tokens({"additional_special_tokens": list(SPECIAL[2:4])})
    found.chat_template = TEMPLATE
    return found


if __name__ == "__main__":
    build(Path(sys.argv[1]), Shape(*map(int, sys.argv[2].split(","))), sys.argv[3])
