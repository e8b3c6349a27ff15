"""``lidr calibrate judge=[...]``: is a judge's scale the same in every language."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from lidr.console import console
from lidr.errors import ConfigError, LidrError
from lidr.evaluation.statistics import Estimate

if TYPE_CHECKING:
    from lidr.judging.calibration import Scale

_LAB = "lab"
EPILOG = """\
Content: files of {"id": ..., "prompt": ..., "answer": ...}, a line an item, the same items in every language.

lidr calibrate judge=[oracle]                                   the lab's content, an exact judge
lidr calibrate judge=[openai] judges.openai.engine.endpoint.model=<name> --content 'content/{language}.jsonl' \\
    --languages en,es,ru,de,fr
"""


def calibrate(words: Sequence[str]) -> int:
    """Rates fixed content, whole and damaged in three steps, and prints each judge's scale by language.

    Raises:
        LidrError: the content is broken, or a judge cannot go on.
        ConfigError: the overrides are wrong; nothing was asked.
    """
    from lidr.compose import compose_judging
    from lidr.judging import calibration, judges
    from lidr.logs import show

    options, overrides = _parser().parse_known_args(words)
    flags = [word for word in overrides if "=" not in word or word.startswith("-")]
    if flags:
        raise ConfigError(
            LidrError("unknown option", where=f, instead="lidr calibrate --help shows what there is")
            for f in flags
        )
    show()
    config = compose_judging(overrides)
    languages = [code for code in options.languages.split(",") if code]
    content = (
        calibration.lab_content(languages, config.limit)
        if options.content == _LAB
        else calibration.read_content(options.content, languages, config.limit)
    )
    for name, own in config.judges.items():
        judge = judges.Judge(name, own, Path(config.paths.outputs) / "calibration" / name)
        judge.claim(config.both_orders)
        with judges.engine(judge, config) as engine:
            scales = calibration.calibrate(content, own, engine, judge.folder)
        _write(judge.folder / "scales.json", scales)
        console().print(_table(name, scales), "")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lidr calibrate",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--content", default=_LAB, help="a pattern of files, {language} is the code; lab")
    parser.add_argument(
        "--languages", default="en,es,de,fr,ru,zh", help="codes, the reference language first"
    )
    return parser


def _table(name: str, scales: Sequence[Scale]) -> Table:
    table = Table(
        *("language", "intact", "offset", "points a step", "n", "unread"),
        box=None,
        header_style="bold",
        title=f"scale of {name}: ratings of the same content, whole and in three steps of damage",
        title_justify="left",
    )
    for s in scales:
        cells = map(_cell, (s.intact, s.offset, s.slope))
        table.add_row(s.language, *cells, str(s.intact.n), str(s.unread))
    return table


def _cell(estimate: Estimate) -> str:
    if estimate.value is None:
        return "-"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.2f}"
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"


def _write(path: Path, scales: Sequence[Scale]) -> None:
    from lidr.files import write_text

    records = [
        {
            "language": s.language,
            "intact": s.intact._asdict(),
            "offset": s.offset._asdict(),
            "slope": s.slope._asdict(),
            "unread": s.unread,
        }
        for s in scales
    ]
    write_text(path, json.dumps(records, indent=2) + "\n")
    sys.stderr.write(f"scales  {path}\n")
