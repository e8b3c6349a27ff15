"""What a micro-batch needs in memory, and what follows for its logits and for gradient checkpointing.

Counted: the bytes that training holds and that eager PyTorch keeps for the backward. Not counted: short-lived
buffers, and memory that the allocator cannot use; `SHARE` leaves room for them.
"""

from __future__ import annotations

from dataclasses import dataclass

from lidr.config import Logits
from lidr.machine import GIB
from lidr.training.head import CHUNK_ELEMENTS
from lidr.training.segments import BLOCK
from lidr.training.shapes import BF16, FP32, ModelShape, Settings

SHARE = 0.85  # of the available memory that may be planned
_UNKNOWN = "the memory of this kind of model cannot be counted, and this needs the least"


class _Sum:
    @property
    def total(self) -> int:
        return sum(vars(self).values())


@dataclass(frozen=True)
class State(_Sum):
    """Bytes on one device that do not depend on the batch.

    copies: autocast's bf16 copies of what trains, there from the first forward of a step to its end.
    gathered: under FSDP what is whole for a moment.
    """

    weights: int
    gradients: int
    optimizer: int
    copies: int
    gathered: int


@dataclass(frozen=True)
class Activations(_Sum):
    """Bytes of a micro-batch kept from forward to backward, without logits.

    blocks: of all blocks, or under checkpointing of the one that is computed again.
    inputs: the blocks' inputs, under checkpointing.
    ends: embedding, rotary tables, last norm and what goes into the head.
    """

    blocks: int
    inputs: int
    ends: int


@dataclass(frozen=True)
class Memory:
    """Bytes on one device at the end of a forward, when most is kept."""

    state: State
    activations: Activations
    logits: int

    @property
    def total(self) -> int:
        return self.state.total + self.activations.total + self.logits


def state(shape: ModelShape, settings: Settings) -> State:
    """Weights, fp32 gradients and Adam's two fp32 moments: 16 bytes per parameter trained in full.

    DDP without a second copy of the gradients (`gradient_as_bucket_view`). FSDP in mixed precision gathers in
    the compute type: the root (embedding, head, last norm) until the step ends, a block in use and the next one,
    and the whole gradient of the larger of root and block before it is divided.
    """
    parts = settings.devices if settings.splits else 1
    trains = settings.adapter(shape) if settings.lora else shape.parameters
    frozen = shape.parameters * settings.compute if settings.lora else 0
    products = settings.adapter(shape) if settings.lora else shape.matrices + shape.embedding
    gathered = 0
    if settings.splits:
        root = shape.parameters - shape.layers * shape.block
        gradient = settings.adapter(shape) // shape.layers if settings.lora else max(root, shape.block)
        gathered = settings.compute * (root + 2 * shape.block + gradient)
    return State(
        weights=(frozen + FP32 * trains) // parts,
        gradients=FP32 * trains // parts,
        optimizer=2 * FP32 * trains // parts,
        copies=BF16 * products if settings.bf16 and not settings.splits else 0,
        gathered=gathered,
    )


def block_bytes(shape: ModelShape, settings: Settings) -> int:
    """Bytes per token that a block keeps for its backward in eager transformers.

    A norm keeps its input and 1/rms in fp32, and the normalised input where its weight trains. Attention keeps q,
    k, v, its output and the fp32 log-sum-exp; the rotation nothing of its own. The MLP keeps the gate's output,
    its activation and the other half. Matrices that train keep their input: in fp32 one for all that share it; in
    bf16 autocast makes a copy for each, except where the input is bf16 already, and peft makes one even then.
    Fused, a norm keeps its input and 1/rms, attention not its output, the gate neither its activation nor its product;
    and matrices share a bf16 input too. On a CPU a norm keeps its bf16 output instead, which the two before the
    matrices share with these.
    """
    norms = shape.norms * _norm(settings, shape.hidden, settings.stream)
    if settings.norms_keep_output:
        norms -= 2 * settings.compute * shape.hidden
    if shape.qk_norm:
        heads = shape.heads + shape.kv_heads
        norms += heads * _norm(settings, shape.head_dim, settings.compute)
    attention = settings.compute * (shape.queries + 2 * shape.keys)
    if not settings.fused:
        attention += settings.compute * shape.queries + FP32 * shape.heads
    gate = settings.compute * (2 if settings.fused and shape.silu else 3) * shape.intermediate
    inputs = settings.compute * _linear_inputs(shape, settings)
    between = settings.compute * settings.lora_rank * len(settings.trained(shape))
    return norms + attention + gate + inputs + between


def _norm(settings: Settings, width: int, element: int) -> int:
    """Bytes that a norm over one vector keeps; `element`: bytes of a number of its input."""
    if settings.fused:
        kept = settings.compute if settings.norms_keep_output else element
        return kept * width + FP32
    return FP32 * (width + 1) + (0 if settings.lora else element * width)


def _linear_inputs(shape: ModelShape, settings: Settings) -> int:
    """Numbers per token that the matrices of a block keep of their inputs, beyond what attention keeps."""
    trained = settings.trained(shape)
    if settings.bf16 and not settings.fused:
        return sum(shape.linears[n].inputs for n in trained if settings.lora or n != "o_proj")
    shared = [{"q_proj", "k_proj", "v_proj"}, {"gate_proj", "up_proj"}]
    width = sum(shape.hidden for group in shared if group & set(trained))
    if settings.fused and "o_proj" in trained:
        width += shape.queries
    kept_product = "down_proj" in trained and not (settings.fused and shape.silu)
    return width + (shape.intermediate if kept_product else 0)


def activations(
    shape: ModelShape, settings: Settings, tokens: int, completion_tokens: int, checkpointing: bool
) -> Activations:
    """What is kept of a micro-batch of so many tokens, padding included."""
    block, h = block_bytes(shape, settings), shape.hidden
    norm = _norm(settings, h, settings.stream)
    ends = (
        tokens * (8 + 2 * settings.stream * shape.head_dim + norm) + completion_tokens * settings.compute * h
    )
    if checkpointing:
        return Activations(tokens * block, tokens * shape.layers * h * settings.stream, ends)
    return Activations(tokens * shape.layers * block, 0, ends)


def logits_bytes(shape: ModelShape, settings: Settings, completion_tokens: int, logits: Logits) -> int:
    """Logits in the compute type, which become their own gradient in place (`head`), or a chunk of them.

    Both with a chunk in fp32 for the softmax, and with the gradient of the head's weight where that trains.
    """
    chunk = min(completion_tokens, max(1, CHUNK_ELEMENTS // shape.vocabulary))
    rows = completion_tokens if logits is Logits.KEPT else chunk
    weight = (
        0 if settings.lora else shape.embedding * (FP32 if logits is Logits.CHUNKED else settings.compute)
    )
    return shape.vocabulary * (rows * settings.compute + chunk * FP32) + weight


def softmax_bytes(shape: ModelShape, settings: Settings, tokens: int, attended: int) -> int:
    """Attention's weights of all blocks, at most: `cpu_attention` takes whole blocks along the diagonal.

    Args:
        attended: pairs of a query and a key.
    """
    return shape.layers * shape.heads * settings.compute * (attended + BLOCK * tokens)


def ahead(shape: ModelShape, settings: Settings, attended: int) -> int:
    """Tokens of a micro-batch, all predicted, that keep as much memory for the backward as the gradients need.

    A step's first micro-batch may have these beyond the others: it finds no gradients, and makes them in its
    backward, as what it kept is let go.

    Args:
        attended: keys of a query, on average, whose weights attention keeps.
    """
    kept = activations(shape, settings, 1, 1, checkpointing=False).total
    kept += shape.vocabulary * settings.compute + softmax_bytes(shape, settings, 1, attended)
    return state(shape, settings).gradients // kept


def memory(
    shape: ModelShape,
    settings: Settings,
    tokens: int,
    completion_tokens: int,
    logits: Logits,
    checkpointing: bool,
) -> Memory:
    """Bytes on one device for a micro-batch of so many tokens, of which so many are predicted."""
    return Memory(
        state(shape, settings),
        activations(shape, settings, tokens, completion_tokens, checkpointing),
        logits_bytes(shape, settings, completion_tokens, logits),
    )


@dataclass(frozen=True)
class Choice:
    """How a micro-batch is fitted into memory.

    reason: a sentence for the log, in GiB.
    fits: whether the planned memory suffices; else this is what needs the least.
    spare: bytes of it that are left.
    """

    logits: Logits
    checkpointing: bool
    reason: str
    fits: bool
    spare: int = 0

    @property
    def keeps_logits(self) -> bool:
        return self.logits is Logits.KEPT


def choose(
    shape: ModelShape | None,
    settings: Settings,
    tokens: int,
    completion_tokens: int,
    available_bytes: int,
    *,
    resident_bytes: int = 0,
    logits: Logits | None = None,
    checkpointing: bool | None = None,
    share: float = SHARE,
) -> Choice:
    """The fastest way that fits: logits kept, else chunked, else either with gradient checkpointing.

    Args:
        shape: None where it is not known; then the way that needs the least.
        tokens, completion_tokens: of the largest micro-batch; padding counts.
        available_bytes: what is free, as `available_memory` says.
        resident_bytes: of the weights that are on the device already, and so not in `available_bytes`.
        logits, checkpointing: what was asked for, or None to choose.
        share: of `available_bytes` that may be planned.
    """
    ways = [(way, again) for again in (False, True) for way in (Logits.KEPT, Logits.CHUNKED)]
    asked = [(logits or way, again if checkpointing is None else checkpointing) for way, again in ways]
    if shape is None:
        return Choice(*asked[-1], f"{_named(*asked[-1])}: {_UNKNOWN}", True)
    room = share * available_bytes
    limit = f"{room / GIB:.2f} GiB ({100 * share:.0f} % of {available_bytes / GIB:.2f} GiB free)"
    refused = ""
    for way, again in dict.fromkeys(asked):
        parts = memory(shape, settings, tokens, completion_tokens, way, again)
        needed = parts.total - resident_bytes
        if needed <= room:
            break
        refused += f"; {_named(way, again)} would need {needed / GIB:.2f}"
    counted = (
        f"{needed / GIB:.2f} GiB (state {(parts.state.total - resident_bytes) / GIB:.2f}, activations"
        f" {parts.activations.total / GIB:.2f}, logits {parts.logits / GIB:.2f})"
    )
    if needed <= room:
        return Choice(
            way, again, f"{_named(way, again)}: {counted} fit into {limit}{refused}", True, int(room - needed)
        )
    return Choice(way, again, f"{_named(way, again)}: {counted} do not fit into {limit}", False)


def _named(logits: Logits, checkpointing: bool) -> str:
    return f"logits {logits}, {'with' if checkpointing else 'no'} checkpointing"
