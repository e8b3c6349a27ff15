"""Shapes and types in the signatures of the formulas are checked at run time, in tests only."""

from jaxtyping import install_import_hook

CHECKED = ("objective", "logprobs", "batching", "reference", "schedule", "metrics", "pairs")
install_import_hook([f"lidr.training.{name}" for name in CHECKED], "beartype.beartype")
