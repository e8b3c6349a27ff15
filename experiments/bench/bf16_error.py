"""How far bf16 moves log-probs and gradients from fp32, for lidr's packed rows and for transformers' padded ones.

    python -m experiments.bench.bf16_error

SmolLM2-135M on pairs of the training benchmark; the objective is DPO against a uniform reference + NLL.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from experiments.bench.cases import CASES, lidr_overrides
from lidr.chat import ChatFormat
from lidr.compose import compose_run
from lidr.config import Layout
from lidr.training import support
from lidr.training.datamodule import PairData
from lidr.training.logprobs import response_log_probs

OUTPUTS = Path("outputs") / "bench-bf16-error"
BETA = 0.1


class Computed(NamedTuple):
    """Log-probs of every response, nats, by pair, and the gradient of all parameters."""

    log_probs: Tensor
    gradient: Tensor


def main(argv: Sequence[str] | None = None) -> int:
    """Prints a line for each way to compute."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=2, help="of 4 pairs")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    case = CASES["smollm2-bf16"]
    setting = case.setting(OUTPUTS)
    drawn = case.draw(args.steps, args.seed, setting, OUTPUTS)
    chat = ChatFormat(AutoTokenizer.from_pretrained(setting.model), setting.system_prompt)
    data = PairData(compose_run(lidr_overrides(case.groups, setting, [])), drawn.pairs, chat, None)
    model = AutoModelForCausalLM.from_pretrained(setting.model, dtype=torch.float32).eval()
    exact = compute(model, data, Layout.PADDED, "sdpa", bf16=False)
    for name, layout, attention in (
        ("transformers, padded, sdpa", Layout.PADDED, "sdpa"),
        ("transformers, padded, eager", Layout.PADDED, "eager"),
        ("lidr, shared prompts", Layout.SHARED, None),
    ):
        for bf16 in (False, True):
            found = compute(model, data, layout, attention, bf16=bf16)
            sys.stdout.write(f"{name:28} {'bf16' if bf16 else 'fp32'}  {distance(found, exact)}\n")
    return 0


def compute(
    model: PreTrainedModel, data: PairData, layout: Layout, attention: str | None, *, bf16: bool
) -> Computed:
    """One pass over all pairs."""
    support.use_layout(model, layout)
    if attention is not None:
        model.set_attn_implementation(attention)
    data.prepare_data()
    data.setup("fit")
    data.arrange(layout, 2048)
    model.zero_grad()
    values = torch.zeros(len(data.tokens.pairs), 2)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        for batch in data.first_epoch():
            log_probs = response_log_probs(model, batch).view(2, -1)
            lengths = batch.chosen_lengths
            loss = -logsigmoid(BETA * (log_probs[0] - log_probs[1])) - log_probs[0] / lengths
            loss.sum().backward()
            values[batch.pairs] = log_probs.detach().T
    return Computed(
        values, torch.cat([p.grad.flatten().double() for p in model.parameters() if p.grad is not None])
    )


def distance(found: Computed, exact: Computed) -> str:
    """From fp32, as text."""
    off = (found.log_probs - exact.log_probs).abs()
    share = (found.gradient - exact.gradient).norm() / exact.gradient.norm()
    return (
        f"log-probs off by {off.mean():.4f} nats (largest {off.max():.4f}), gradient by {100 * share:.3f} %"
    )


if __name__ == "__main__":
    sys.exit(main())
