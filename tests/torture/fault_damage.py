"""Files of a finished run that are gone, cut short, or hold another byte: found, named, and made anew alone."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from lidr.store import Manifest
from tests.torture import fault, forked
from tests.torture.fault import Fault, a_folder, finished, judged, template

_DELETE = re.compile(
    r"(?:or|if the file was damaged,) delete (.*) and run the same command again"
    r"|-> delete (.*) and run the same command again"
)
_DERIVED = (
    "results.json",
    "metrics.jsonl",
    "status.json",
    "name.txt",
    "report/report.md",
    "report/report.html",
)


def damaged(_: int) -> Iterator[Fault]:
    """Every file of every finished stage and its manifest, in three ways; then those that are made of them."""
    run = fault.root(template())
    assert run is not None
    for path in sorted(run.glob("iteration-*/*/stage.json")):
        manifest = Manifest.model_validate_json(path.read_bytes())
        for name in (*manifest.outputs, f"{manifest.stage}/stage.json"):
            for way, damage in WAYS.items():
                yield _damaged(name, way, damage, manifest.stage, may_pass=name.endswith("stage.json"))
    for name in _DERIVED:
        for way, damage in WAYS.items():
            yield _damaged(name, way, damage, "", may_pass=True)
    for way, damage in WAYS.items():
        yield _damaged("config.yaml", way, damage, "", may_pass=way == "missing")


def _missing(path: Path) -> None:
    path.unlink()


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _flipped(path: Path) -> None:
    """One bit of a byte that the name draws; the size stays."""
    data, drawn = bytearray(path.read_bytes()), random.Random(path.name)
    data[drawn.randrange(len(data))] ^= 1 << drawn.randrange(7)
    path.write_bytes(data)


WAYS: dict[str, Callable[[Path], None]] = {
    "missing": _missing,
    "cut in half": _cut,
    "with another bit": _flipped,
}


def _damaged(name: str, way: str, damage: Callable[[Path], None], stage: str, may_pass: bool) -> Fault:
    with a_folder() as folder:
        run = finished()(folder)
        damage(run / name)
        met = fault.run(folder)
        says = rf"{re.escape(Path(name).name)}.*->"

        def mend() -> forked.Ended:
            """Does what the line says."""
            found = _DELETE.search(met.err.splitlines()[-1]) if met.code else None
            for path in (found[1] or found[2]).split(" and ") if found else ():
                (folder / path).unlink(missing_ok=True)
            return fault.run(folder)

        return judged(f"{name} {way}", folder, met, says, mend, may_pass=may_pass, redone=(stage,))
