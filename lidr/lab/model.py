"""Where the shipped model lies."""

from __future__ import annotations

from pathlib import Path


def model_path() -> Path:
    """The folder of M_0, for `AutoModelForCausalLM.from_pretrained` and `AutoTokenizer.from_pretrained`."""
    return Path(__file__).parent / "assets" / "m0"
