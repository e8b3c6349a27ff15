"""The shape of a decoder and of its training, and the operations of an optimizer step that follow from them.

A block has attention with grouped keys and values, a gated MLP and RMSNorms, as in Llama, Mistral, Qwen 2 and 3
and Gemma 1 to 3. A plain MLP (GPT-NeoX, Phi) is counted as a gated one, so with half as much again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from transformers import PretrainedConfig

FP32, BF16 = 4, 2  # bytes

_QKV = ("q_proj", "k_proj", "v_proj")
_GATED = ("gate_proj", "up_proj")
_BIAS_ON_QKV = ("qwen2",)  # without a name in the configuration
_NORM_OF_QK = ("qwen3", "gemma3", "gemma3_text")
_FOUR_NORMS = ("gemma2", "gemma3", "gemma3_text")
_MIXTURE = ("num_experts", "num_local_experts", "n_routed_experts")


class Linear(NamedTuple):
    """A matrix of a block, applied to every token."""

    inputs: int
    outputs: int

    @property
    def size(self) -> int:
        return self.inputs * self.outputs


@dataclass(frozen=True)
class ModelShape:
    """Widths and counts of a decoder.

    Attributes:
        tied: whether the head is the embedding.
        norms: RMSNorms of width `hidden` in a block.
        qk_norm: whether a norm goes over each head's queries and keys too.
        vectors: parameters of a block besides its matrices and those norms: biases, norms of queries and keys.
        silu: whether SiLU gates the MLP.
    """

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int
    tied: bool
    norms: int = 2
    qk_norm: bool = False
    vectors: int = 0
    silu: bool = True

    @staticmethod
    def of(config: PretrainedConfig) -> ModelShape | None:
        """The shape, or None where it is not this kind of decoder.

        None rather than an error: a training goes on without, with the choice that needs the least memory.
        """
        text: Any = config.get_text_config(decoder=True)
        if any(getattr(text, name, None) for name in _MIXTURE):
            return None
        heads = getattr(text, "num_attention_heads", None)
        hidden = getattr(text, "hidden_size", None)
        if not isinstance(heads, int) or not isinstance(hidden, int):
            return None
        values: dict[str, Any] = {
            "layers": getattr(text, "num_hidden_layers", None),
            "hidden": hidden,
            "heads": heads,
            "kv_heads": getattr(text, "num_key_value_heads", None) or heads,
            "head_dim": getattr(text, "head_dim", None) or hidden // heads,
            "intermediate": getattr(text, "intermediate_size", None),
            "vocabulary": getattr(text, "vocab_size", None),
        }
        if not all(isinstance(value, int) for value in values.values()):
            return None
        gate = str(getattr(text, "hidden_act", None) or getattr(text, "hidden_activation", ""))
        tied = bool(getattr(text, "tie_word_embeddings", False))
        plain = ModelShape(**values, tied=tied, silu=gate == "silu")
        return plain._with_vectors(text)

    def _with_vectors(self, text: Any) -> ModelShape:
        kind = text.model_type
        linears, vectors = self.linears, 0
        if kind in _BIAS_ON_QKV or getattr(text, "attention_bias", False):
            vectors += sum(linears[name].outputs for name in _QKV)
            vectors += 0 if kind in _BIAS_ON_QKV else linears["o_proj"].outputs
        if getattr(text, "mlp_bias", False):
            vectors += sum(linears[name].outputs for name in (*_GATED, "down_proj"))
        qk_norm = kind in _NORM_OF_QK
        vectors += 2 * self.head_dim if qk_norm else 0
        return replace(self, norms=4 if kind in _FOUR_NORMS else 2, qk_norm=qk_norm, vectors=vectors)

    @property
    def queries(self) -> int:
        """Width of all queries of a token."""
        return self.heads * self.head_dim

    @property
    def keys(self) -> int:
        """Width of all keys of a token, and of all values."""
        return self.kv_heads * self.head_dim

    @property
    def linears(self) -> dict[str, Linear]:
        """The matrices of a block."""
        h, i = self.hidden, self.intermediate
        return {
            "q_proj": Linear(h, self.queries),
            "k_proj": Linear(h, self.keys),
            "v_proj": Linear(h, self.keys),
            "o_proj": Linear(self.queries, h),
            "gate_proj": Linear(h, i),
            "up_proj": Linear(h, i),
            "down_proj": Linear(i, h),
        }

    @property
    def matrices(self) -> int:
        """Parameters in the matrices of all blocks: the N of 2 N FLOPs per token."""
        return self.layers * sum(linear.size for linear in self.linears.values())

    @property
    def block(self) -> int:
        """Parameters of one block."""
        return self.matrices // self.layers + self.norms * self.hidden + self.vectors

    @property
    def body(self) -> int:
        """Parameters of all blocks and the last norm."""
        return self.layers * self.block + self.hidden

    @property
    def embedding(self) -> int:
        return self.vocabulary * self.hidden

    @property
    def head(self) -> int:
        """Parameters of the head besides the embedding; 0 where they are tied."""
        return 0 if self.tied else self.embedding

    @property
    def parameters(self) -> int:
        return self.body + self.embedding + self.head

    def adapter(self, rank: int, targets: tuple[str, ...]) -> int:
        """Parameters of a LoRA adapter on these matrices of every block."""
        return self.layers * rank * sum(sum(self.linears[name]) for name in targets)


@dataclass(frozen=True)
class Settings:
    """How a model is trained.

    Attributes:
        bf16: operations in bf16; what trains stays fp32, LoRA's frozen base is bf16. Else everything is fp32.
        lora_rank: 0 trains all parameters.
        lora_targets: matrices of a block with an adapter; none of a block's names, as in "all-linear": all.
        devices: how many share an optimizer step's pairs.
        sharded: FSDP, by block, rather than DDP, which holds everything on every device.
        fused: norms, rotary embeddings and SiLU-gated activations as in `fused`, not as in transformers.
        cpu: there a fused norm keeps its output where that is narrower than its input.
    """

    bf16: bool
    lora_rank: int = 0
    lora_targets: tuple[str, ...] = ()
    devices: int = 1
    sharded: bool = False
    fused: bool = False
    cpu: bool = False

    @property
    def lora(self) -> bool:
        return self.lora_rank > 0

    @property
    def compute(self) -> int:
        """Bytes of a number that an operation makes."""
        return BF16 if self.bf16 else FP32

    @property
    def stream(self) -> int:
        """Bytes of a number between blocks: fp32 under autocast, unless the embedding itself is bf16."""
        return self.compute if self.lora else FP32

    @property
    def norms_keep_output(self) -> bool:
        """Where the layers that a norm's output goes to keep it anyway, the norm keeps nothing of its own."""
        return self.fused and self.cpu and self.compute < self.stream

    @property
    def splits(self) -> bool:
        """Whether weights, gradients and optimizer states are divided among the devices."""
        return self.sharded and self.devices > 1

    def trained(self, shape: ModelShape) -> tuple[str, ...]:
        """Matrices of a block whose input the backward needs."""
        names = tuple(shape.linears)
        return tuple(n for n in names if self.lora and n in self.lora_targets) or names

    def adapter(self, shape: ModelShape) -> int:
        """Parameters of the adapter."""
        return shape.adapter(self.lora_rank, self.trained(shape)) if self.lora else 0


@dataclass(frozen=True)
class Work:
    """What goes through the model.

    Attributes:
        tokens: through the body.
        completion_tokens: through the head.
        attended: pairs of a query and a key.
    """

    tokens: int
    completion_tokens: int
    attended: int

    @staticmethod
    def of_pair(prompt: int, chosen: int, rejected: int) -> Work:
        """A pair whose prompt goes through the model once; lengths in tokens."""
        completions = chosen + rejected
        attended = causal(prompt) + causal(chosen, prompt) + causal(rejected, prompt)
        return Work(prompt + completions, completions, attended)

    def times(self, count: int) -> Work:
        return Work(count * self.tokens, count * self.completion_tokens, count * self.attended)


def causal(length: int, prefix: int = 0) -> int:
    """Pairs of a query and a key in a causal segment that also attends to a whole prefix."""
    return length * (length + 1) // 2 + length * prefix


@dataclass(frozen=True)
class Flops:
    """Floating-point operations of matrix products; an addition and a multiplication are two.

    recompute: what checkpointing and chunked logits compute a second time.
    reference: the frozen reference's own forward, once over the same work.
    """

    forward: int
    backward: int
    recompute: int
    reference: int

    @property
    def total(self) -> int:
        return self.forward + self.backward + self.recompute + self.reference


def flops(
    shape: ModelShape,
    settings: Settings,
    work: Work,
    *,
    chunked: bool = False,
    checkpointing: bool = False,
    reference: bool = True,
) -> Flops:
    """2 per parameter and token forward; backward 2 for the inputs' gradient and 2 for the weights' that train.

    Attention costs 4 per query-key pair and query width forward, and twice that backward, where flash kernels'
    own recomputation is not counted. Chunked logits of a frozen head need no second product: their gradient is
    made in the forward.
    """
    matrices = 2 * shape.matrices * work.tokens
    adapter = 2 * settings.adapter(shape) * work.tokens
    attention = 4 * shape.layers * shape.queries * work.attended
    head = 2 * shape.embedding * work.completion_tokens
    body = matrices + adapter + attention
    frozen = 1 if settings.lora else 2
    return Flops(
        forward=body + head,
        backward=frozen * (matrices + head) + 2 * (adapter + attention),
        recompute=(body if checkpointing else 0) + (head if chunked and not settings.lora else 0),
        reference=body + head if reference else 0,
    )


class Traffic(NamedTuple):
    """Bytes that one device sends in an optimizer step, for weights gathered and for gradients reduced."""

    gathered: int
    reduced: int


def traffic(shape: ModelShape, settings: Settings, micro_batches: int) -> Traffic:
    """Ring collectives over n devices: a gather or a scatter sends (n - 1) / n of the whole, an all-reduce both.

    DDP reduces fp32 gradients once a step. FSDP gathers the weights twice and scatters the gradients in the
    compute type, with each of a device's micro-batches in a step.
    """
    n = settings.devices
    trains = settings.adapter(shape) if settings.lora else shape.parameters
    if not settings.splits:
        return Traffic(0, 2 * FP32 * trains * (n - 1) // n)
    whole = shape.parameters + settings.adapter(shape)
    sent = settings.compute * micro_batches * (n - 1)
    return Traffic(2 * sent * whole // n, sent * trains // n)
