"""Triton kernels behind `fused` and `head` on CUDA: each goes through device memory once.

Triton comes with PyTorch's CUDA builds. Where it is not there, the same functions run as PyTorch's operations.
All computes in fp32, whatever the tensors are in. Rows are a tensor's last dimension; they must be contiguous.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor

if TYPE_CHECKING:
    triton: Any
    tl: Any
    constexpr: TypeAlias = Any
elif find_spec("triton") is None:
    triton, tl, constexpr = None, None, Any
else:
    import triton
    import triton.language as tl
    from triton.language import constexpr


def jit(kernel: Any) -> Any:
    """Triton's; the kernel as it is where there is none."""
    return kernel if triton is None else triton.jit(kernel)


on_device_of: Any = torch.cuda.device_of
_ELEMENTS = 2048  # of an elementwise program
_VOCABULARY = 4096  # elements of a row of logits that are read at a time
_PROGRAMS = 512  # that share the rows of a norm's weight gradient


def serves(tensor: Tensor) -> bool:
    """Whether the kernels run where the tensor is."""
    return triton is not None and tensor.is_cuda


def rms_forward(rows: Tensor, weight: Tensor, eps: float, offset: float, out: Tensor) -> Tensor:
    """Fills `out` with rows / rms * (offset + weight); returns 1 / rms of each row, fp32."""
    inverse = torch.empty(len(rows), 1, dtype=torch.float32, device=rows.device)
    width = rows.shape[1]
    with on_device_of(rows):
        _rms_forward[(len(rows),)](
            rows, weight, out, inverse, width, eps, offset, triton.next_power_of_2(width), num_warps=8
        )
    return inverse


def rms_backward(
    grad: Tensor, rows: Tensor, weight: Tensor, inverse: Tensor, offset: float, d_rows: Tensor, trains: bool
) -> Tensor | None:
    """Fills `d_rows`; the weight's gradient in fp32 where it trains."""
    count, width = rows.shape
    programs = min(count, _PROGRAMS)
    parts = torch.zeros(programs if trains else 1, width, dtype=torch.float32, device=rows.device)
    with on_device_of(rows):
        _rms_backward[(programs if trains else count,)](
            grad,
            rows,
            weight,
            inverse,
            d_rows,
            parts,
            count,
            width,
            offset,
            triton.next_power_of_2(width),
            trains,
            num_warps=8,
        )
    return parts.sum(0) if trains else None


def gate_forward(gate: Tensor, up: Tensor, out: Tensor) -> None:
    """Fills `out` with silu(gate) * up."""
    count = gate.numel()
    with on_device_of(gate):
        _gate_forward[(triton.cdiv(count, _ELEMENTS),)](gate, up, out, count, _ELEMENTS)


def gate_backward(
    gate: Tensor, up: Tensor, grad: Tensor, d_gate: Tensor, d_up: Tensor, product: Tensor | None
) -> None:
    """Fills both gradients, and `product` with silu(gate) * up where it is given."""
    count = gate.numel()
    with on_device_of(gate):
        _gate_backward[(triton.cdiv(count, _ELEMENTS),)](
            gate,
            up,
            grad,
            d_gate,
            d_up,
            d_up if product is None else product,
            count,
            _ELEMENTS,
            product is not None,
        )


def rotate(rows: Tensor, cos: Tensor, sin: Tensor, out: Tensor, sign: int) -> None:
    """Fills `out`, (tokens, heads, width) as `rows` is, with the rotation of `fused.rotate`; cos: (tokens, width)."""
    tokens, heads, width = rows.shape
    with on_device_of(rows):
        _rotate[(tokens,)](
            rows,
            cos,
            sin,
            out,
            heads,
            width // 2,
            sign,
            triton.next_power_of_2(heads),
            triton.next_power_of_2(width // 2),
        )


def softmax_forward(logits: Tensor, replace: bool) -> tuple[Tensor, Tensor]:
    """Each row's largest logit and its sum of exp(logit - max), fp32; exponentials in the logits' place if wished."""
    highest, sums = (torch.empty(len(logits), dtype=torch.float32, device=logits.device) for _ in range(2))
    width = logits.shape[1]
    with on_device_of(logits):
        _softmax_forward[(len(logits),)](
            logits, highest, sums, width, logits.stride(0), _VOCABULARY, replace, num_warps=8
        )
    return highest, sums


def softmax_backward(exponentials: Tensor, targets: Tensor, sums: Tensor, grad: Tensor) -> None:
    """Replaces exp(logit - max) by grad * (one_hot(target) - softmax)."""
    count, width = exponentials.shape
    with on_device_of(exponentials):
        _softmax_backward[(count, triton.cdiv(width, _VOCABULARY))](
            exponentials, targets, sums, grad, width, exponentials.stride(0), _VOCABULARY, num_warps=8
        )


@jit
def _rms_forward(x, weight, out, inverse, width, eps, offset, block: constexpr):  # type: ignore[no-untyped-def]
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, block)
    inside = columns < width
    values = tl.load(x + row * width + columns, mask=inside, other=0.0).to(tl.float32)
    root = tl.rsqrt(tl.sum(values * values) / width + eps)
    scale = tl.load(weight + columns, mask=inside, other=0.0).to(tl.float32) + offset
    tl.store(out + row * width + columns, values * root * scale, mask=inside)
    tl.store(inverse + row, root)


@jit
def _rms_backward(  # type: ignore[no-untyped-def]
    grad,
    x,
    weight,
    inverse,
    d_x,
    parts,
    count,
    width,
    offset,
    block: constexpr,
    trains: constexpr,
):
    first = tl.program_id(0)
    columns = tl.arange(0, block)
    inside = columns < width
    scale = tl.load(weight + columns, mask=inside, other=0.0).to(tl.float32) + offset
    total = tl.zeros([block], dtype=tl.float32)
    for row in range(first, count, tl.num_programs(0)):
        start = row * tl.cast(width, tl.int64)
        root = tl.load(inverse + row)
        normed = tl.load(x + start + columns, mask=inside, other=0.0).to(tl.float32) * root
        slope = tl.load(grad + start + columns, mask=inside, other=0.0).to(tl.float32)
        if trains:
            total += slope * normed
        slope = slope * scale
        along = tl.sum(slope * normed) / width
        tl.store(d_x + start + columns, (slope - normed * along) * root, mask=inside)
    if trains:
        tl.store(parts + first.to(tl.int64) * width + columns, total, mask=inside)


@jit
def _gate_forward(gate, up, out, count, block: constexpr):  # type: ignore[no-untyped-def]
    at = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    inside = at < count
    g = tl.load(gate + at, mask=inside, other=0.0).to(tl.float32)
    u = tl.load(up + at, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + at, g * tl.sigmoid(g) * u, mask=inside)


@jit
def _gate_backward(  # type: ignore[no-untyped-def]
    gate,
    up,
    grad,
    d_gate,
    d_up,
    product,
    count,
    block: constexpr,
    wanted: constexpr,
):
    at = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    inside = at < count
    g = tl.load(gate + at, mask=inside, other=0.0).to(tl.float32)
    u = tl.load(up + at, mask=inside, other=0.0).to(tl.float32)
    slope = tl.load(grad + at, mask=inside, other=0.0).to(tl.float32)
    share = tl.sigmoid(g)
    activated = g * share
    if wanted:
        tl.store(product + at, activated * u, mask=inside)
    tl.store(d_gate + at, slope * u * share * (1.0 + g * (1.0 - share)), mask=inside)
    tl.store(d_up + at, slope * activated, mask=inside)


@jit
def _rotate(x, cos, sin, out, heads, half, sign: constexpr, head_block: constexpr, half_block: constexpr):  # type: ignore[no-untyped-def]
    token = tl.program_id(0).to(tl.int64)
    head, column = tl.arange(0, head_block)[:, None], tl.arange(0, half_block)[None, :]
    inside, angles = (head < heads) & (column < half), column < half
    first = (token * heads + head) * 2 * half + column
    a = tl.load(x + first, mask=inside, other=0.0).to(tl.float32)
    b = tl.load(x + first + half, mask=inside, other=0.0).to(tl.float32)
    at = token * 2 * half + column
    c1 = tl.load(cos + at, mask=angles, other=0.0).to(tl.float32)
    c2 = tl.load(cos + at + half, mask=angles, other=0.0).to(tl.float32)
    s1 = tl.load(sin + at, mask=angles, other=0.0).to(tl.float32)
    s2 = tl.load(sin + at + half, mask=angles, other=0.0).to(tl.float32)
    tl.store(out + first, a * c1 + sign * b * s1, mask=inside)
    tl.store(out + first + half, b * c2 - sign * a * s2, mask=inside)


@jit
def _softmax_forward(logits, highest, sums, width, stride, block: constexpr, replace: constexpr):  # type: ignore[no-untyped-def]
    row = tl.program_id(0).to(tl.int64)
    start = logits + row * stride
    columns = tl.arange(0, block)
    top = tl.full([block], float("-inf"), dtype=tl.float32)
    for at in range(0, width, block):
        inside = at + columns < width
        top = tl.maximum(top, tl.load(start + at + columns, mask=inside, other=float("-inf")).to(tl.float32))
    largest = tl.max(top)
    total = tl.zeros([block], dtype=tl.float32)
    for at in range(0, width, block):
        inside = at + columns < width
        values = tl.load(start + at + columns, mask=inside, other=float("-inf")).to(tl.float32)
        values = tl.exp(values - largest)
        total += values
        if replace:
            tl.store(start + at + columns, values, mask=inside)
    tl.store(highest + row, largest)
    tl.store(sums + row, tl.sum(total))


@jit
def _softmax_backward(exponentials, targets, sums, grad, width, stride, block: constexpr):  # type: ignore[no-untyped-def]
    row = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * block + tl.arange(0, block)
    inside = columns < width
    at = exponentials + row * stride + columns
    slope = tl.load(grad + row)
    share = tl.load(at, mask=inside, other=0.0).to(tl.float32) * (-slope / tl.load(sums + row))
    share = tl.where(columns == tl.load(targets + row), share + slope, share)
    tl.store(at, share, mask=inside)
