"""What is logged of an optimizer step: overall, per language and per pair type."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torchmetrics import Metric

from lidr.config import ObjectiveName, PairType
from lidr.training.objective import Terms, terms_type
from lidr.training.pairs import TokenPair

_NAMES = {"correct": "accuracy", "drift": "chosen_drift"}


class Groups:
    """The groups of pairs that are logged: all, each language, each pair type.

    A type is named ``type_nl`` or ``type_en``: both are codes of languages too.

    Attributes:
        names: "" for all pairs, then languages, then types.
        members: row i says which pairs belong to group i.
    """

    def __init__(self, pairs: Sequence[TokenPair]) -> None:
        found: dict[str, list[bool]] = {"": [True] * len(pairs)}
        for language in sorted({pair.language for pair in pairs}):
            found[language] = [pair.language == language for pair in pairs]
        for kind in PairType:
            members = [pair.type is kind for pair in pairs]
            if any(members):
                found[f"type_{kind.value}"] = members
        self.names = tuple(found)
        self.members: Bool[Tensor, "groups pairs"] = torch.tensor(list(found.values()))


class StepMeans(Metric):
    """Mean of every term over the pairs of an optimizer step, for each group of pairs.

    The preference term is named after its objective: losses of two are no numbers to compare.
    One matrix product in fp64 for all of them. Several processes have all terms of a step, each of them, so that
    torchmetrics has nothing to add up.
    """

    full_state_update = False
    sums: Float[Tensor, "terms groups"]
    counts: Float[Tensor, " groups"]

    def __init__(self, groups: Groups, objective: ObjectiveName) -> None:
        super().__init__(sync_on_compute=False)
        self.names = groups.names
        names = _NAMES | {"preference": objective.value}
        self.terms = tuple(names.get(f.name, f.name) for f in fields(terms_type(objective)))
        self.register_buffer("members", groups.members.double(), persistent=False)
        shape = (len(self.terms), len(self.names))
        self.add_state("sums", torch.zeros(shape, dtype=torch.float64))
        self.add_state("counts", torch.zeros(len(self.names), dtype=torch.float64))

    def update(self, terms: Terms, pairs: Int[Tensor, " pairs"]) -> None:
        """Adds the terms of pairs, given by index."""
        members: Tensor = self.members[:, pairs]  # type: ignore[index]
        self.sums += torch.stack([term.double() for term in terms.columns().values()]) @ members.T
        self.counts += members.sum(dim=1)

    def compute(self) -> Float[Tensor, "terms groups"]:
        """NaN for a group without pairs."""
        return self.sums / self.counts

    def record(self) -> dict[str, float]:
        """``train/<term>`` and ``train/<term>/<group>`` of the groups that had pairs, then starts afresh."""
        values = {
            "/".join(filter(None, ("train", term, name))): mean
            for term, row in zip(self.terms, self.compute().tolist(), strict=True)
            for name, mean in zip(self.names, row, strict=True)
            if not math.isnan(mean)
        }
        self.reset()
        return values
