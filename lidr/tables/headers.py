"""The header of an experiment file: which table, command, hardware, time, expected values and tolerance."""

from __future__ import annotations

import re
from dataclasses import MISSING, dataclass, fields
from functools import cache

import yaml

from lidr.compose import config_folder
from lidr.errors import LidrError

_FIELD = re.compile(r"# (Table|Command|Judge|Lab|Lab judge|Hardware|Time|Expected|Tolerance): +(.*)")


@dataclass(frozen=True)
class Header:
    """What the first comment of ``experiments/experiment/<name>.yaml`` promises, each field in words.

    table: which one it fills. command: of the paper's setting. lab: of the lab edition.
    judge, lab_judge: who then judges the run, where a table needs it.
    """

    table: str
    command: str
    lab: str
    hardware: str
    time: str
    expected: str
    tolerance: str
    judge: str = ""
    lab_judge: str = ""

    @property
    def runs(self) -> bool:
        """Whether a run fills the table; calibration needs none."""
        return self.command.startswith("lidr run ")

    @property
    def requests(self) -> str:
        """Requests at the paper's scale, as the header writes them; a dash where it does not."""
        found = re.search(r"([\d,]+) requests", self.time)
        return found[1] if found else "-"

    @property
    def lab_time(self) -> str:
        """Time of the lab edition, as the header writes it."""
        return self.time.partition("lab: ")[2].rstrip(".") or "-"


@cache
def run_name(experiment: str) -> str:
    """What the runs of an experiment are called: of one that adds no name of its own, as those it is made from."""
    path = config_folder("experiments") / "experiment" / f"{experiment}.yaml"
    values = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    bases = [text for text in values.get("defaults", ()) if isinstance(text, str) and text != "_self_"]
    return str(values.get("name") or (run_name(bases[0]) if bases else experiment))


@cache
def read_header(experiment: str) -> Header:
    """The header of an experiment.

    Raises:
        LidrError: there is no such experiment, or its header lacks a field.
    """
    path = config_folder("experiments") / "experiment" / f"{experiment}.yaml"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise LidrError(
            "no such experiment", where=experiment, instead="lidr run --help lists them"
        ) from None
    found: dict[str, str] = {}
    last = ""
    for line in lines:
        if not line.startswith("#"):
            break
        field = _FIELD.fullmatch(line)
        if field:
            last = field[1].lower().replace(" ", "_")
            found[last] = field[2].strip()
        elif last and line.startswith("#   "):
            found[last] += " " + line.lstrip("# ").strip()
    missing = [f.name.capitalize() for f in fields(Header) if f.default is MISSING and not found.get(f.name)]
    if missing:
        raise LidrError(
            f"the header lacks {', '.join(missing)}",
            where=f"experiments/experiment/{experiment}.yaml",
            instead="a line such as '# Time:  lab 1 minute'",
        )
    return Header(**found)
