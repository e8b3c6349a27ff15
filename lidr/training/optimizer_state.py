"""An optimizer's state by the names of its parameters: the same on one device and on several.

PyTorch numbers parameters by their place in the optimizer, FSDP by their place in the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def named(state: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """A state whose numbers are places in `names`, by name; an empty one, of a rank that writes nothing, as it is."""
    return _renamed(state, dict(enumerate(names))) if state else state


def numbered(state: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """A named state, numbered by places in `names`."""
    return _renamed(state, {name: place for place, name in enumerate(names)})


def _renamed(state: dict[str, Any], new: dict[Any, Any]) -> dict[str, Any]:
    groups = [{**group, "params": [new[p] for p in group["params"]]} for group in state["param_groups"]]
    return {
        **state,
        "state": {new[p]: values for p, values in state["state"].items()},
        "param_groups": groups,
    }
