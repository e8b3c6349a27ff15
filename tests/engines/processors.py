"""What this machine's processor computes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lidr.engines.native.build import library
from lidr.engines.product import has_product

COMPILED = pytest.mark.skipif(library() is None, reason="there is no C++ compiler here")

LAID_OUT = [
    torch.float32,
    pytest.param(
        torch.bfloat16,
        marks=pytest.mark.skipif(
            not has_product(nn.Linear(1, 1, dtype=torch.bfloat16)),
            reason="oneDNN has no products in bf16 for this processor",
        ),
    ),
]
