"""Do the pair stage and the report stay flat in memory and linear in time? On made-up records in ten languages.

    python -m experiments.bench.records
    python -m experiments.bench.records --pairs 10000 100000 --report 1000000

`--pairs` takes counts of prompts: prompts, answers and translations of as many are written, then pairs and their audit
are made of them, by the filters and the detectors of a run. `--report` takes counts of records: a run folder that holds
as many is opened by `lidr report`. Each is a process of its own; peak is the largest resident size it had. Seconds are
those that it had a core, so that they can be compared on a machine that is shared.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from experiments.bench.contestants import ROOT, environment
from experiments.bench.train import say
from lidr import jsonl
from lidr.compose import compose_run
from lidr.config import RunConfig
from lidr.records import Pair, Prompt, Record, Response, Translation, to_json
from lidr.report import build_report
from lidr.store import RunDirectory
from lidr.synthesis.build import build_pairs
from lidr.synthesis.read import directions

PROMPTS, RECORDS = (1_000, 3_000, 10_000), (30_000, 300_000, 1_000_000)
MIB = 2**20
# The first article of the Universal Declaration of Human Rights.
ARTICLE = {
    "en": "All human beings are born free and equal in dignity and rights. They are endowed with reason and conscience"
    " and should act towards one another in a spirit of brotherhood.",
    "es": "Todos los seres humanos nacen libres e iguales en dignidad y derechos y, dotados como están de razón y"
    " conciencia, deben comportarse fraternalmente los unos con los otros.",
    "de": "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft und Gewissen begabt"
    " und sollen einander im Geiste der Brüderlichkeit begegnen.",
    "fr": "Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont doués de raison et de"
    " conscience et doivent agir les uns envers les autres dans un esprit de fraternité.",
    "it": "Tutti gli esseri umani nascono liberi ed eguali in dignità e diritti. Essi sono dotati di ragione e di"
    " coscienza e devono agire gli uni verso gli altri in spirito di fratellanza.",
    "pt": "Todos os seres humanos nascem livres e iguais em dignidade e em direitos. Dotados de razão e de consciência,"
    " devem agir uns para com os outros em espírito de fraternidade.",
    "ru": "Все люди рождаются свободными и равными в своем достоинстве и правах. Они наделены разумом и совестью и"
    " должны поступать в отношении друг друга в духе братства.",
    "zh": "人人生而自由,在尊严和权利上一律平等。他们赋有理性和良心,并应以兄弟关系的精神相对待。",
    "ja": "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。"
    "人間は、理性と良心とを授けられており、互いに同胞の精神をもって行動しなければならない。",
    "ko": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다. 인간은 천부적으로 이성과 양심을"
    " 부여받았으며 서로 형제애의 정신으로 행동하여야 한다.",
}


@dataclass(frozen=True)
class Taken:
    """What making or reading `count` took.

    size: bytes of the files that were read. page: of `report.html`. seconds: of a core.
    """

    count: int
    size: int
    seconds: float
    peak: int
    kept: int = 0
    page: int = 0


def main(argv: Sequence[str] | None = None) -> int:
    """Prints both tables."""
    parser = argparse.ArgumentParser(
        prog="records", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, nargs="*", default=list(PROMPTS), help="counts of prompts")
    parser.add_argument("--report", type=int, nargs="*", default=list(RECORDS), help="counts of records")
    parser.add_argument("--one", nargs=3, metavar=("WHAT", "FOLDER", "COUNT"), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.one:
        what, folder, count = args.one
        say(json.dumps(asdict(ONE[what](Path(folder), int(count)))))
        return 0
    if args.pairs:
        say("  prompts  candidates    kept  files MB   seconds  a 1,000   peak MiB")
    for count in args.pairs:
        t = _process("pairs", count)
        say(
            f"{count:>9,}  {count * len(ARTICLE):>10,} {t.kept:>7,} {t.size / 1e6:>9.0f} {t.seconds:>9.1f}"
            f" {1000 * t.seconds / count:>8.2f} {t.peak / MIB:>10.0f}"
        )
    if args.report:
        say("  records  files MB   seconds   peak MiB   page MB")
    for count in args.report:
        t = _process("report", count)
        say(
            f"{t.count:>9,} {t.size / 1e6:>9.0f} {t.seconds:>9.1f} {t.peak / MIB:>10.0f} {t.page / 1e6:>9.1f}"
        )
    return 0


def pairs(folder: Path, count: int) -> Taken:
    """Pairs and audit of so many prompts."""
    config = _config(folder, count)
    size = write(folder / "iteration-1", config, count)
    started, own = time.process_time(), folder / "iteration-1"
    audit = build_pairs(own / "prompts", own / "responses", own / "translations", own / "pairs", config)
    return Taken(count, size, time.process_time() - started, _peak(), kept=int(audit["kept"]))


def report(folder: Path, count: int) -> Taken:
    """The report of a run folder with so many answers, translations and pairs."""
    a_prompt = len(ARTICLE) + 2 * (len(ARTICLE) - 1) + len(ARTICLE)
    prompts = max(1, round(count / a_prompt))
    config = _config(folder, prompts)
    run = RunDirectory.of(config)
    run.open(config)
    run.set_status("done")
    size = write(run.root / "iteration-1", config, prompts) + _write_pairs(run.root / "iteration-1", prompts)
    started = time.process_time()
    paths = build_report([run.root], folder / "report")
    return Taken(
        prompts * a_prompt, size, time.process_time() - started, _peak(), page=paths.page.stat().st_size
    )


ONE = {"pairs": pairs, "report": report}


def write(folder: Path, config: RunConfig, count: int) -> int:
    """Prompts, answers and translations of an iteration; returns their bytes.

    Every tenth answer of a non-dominant language is in English, every twentieth translation failed.
    """
    size = 0
    for code in ARTICLE:
        size += _write(folder / "prompts" / f"{code}.jsonl", (_prompt(i, code) for i in range(count)))
        answers = (_response(i, code) for i in range(count))
        size += _write(folder / "responses" / f"{code}.jsonl", answers)
    for source, target in directions(config.languages):
        found = (_translation(i, source, target) for i in range(count))
        size += _write(folder / "translations" / f"{source}-{target}.jsonl", found)
    return size


def _write_pairs(folder: Path, count: int) -> int:
    def made() -> Iterator[Pair]:
        for i in range(count):
            for code in list(ARTICLE)[1:]:
                prompt, right, own = _text(i, code, 0), _text(i, code, 1), _text(i, code, 2)
                yield Pair(_id(i), code, prompt, right, own, f"en->{code}", code)

    return _write(folder / "pairs" / "pairs.jsonl", made())


def _write(path: Path, records: Iterable[Record]) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    jsonl.write(path, map(to_json, records))
    return path.stat().st_size


def _prompt(i: int, code: str) -> Prompt:
    return Prompt(_id(i), code, _text(i, code, 0))


def _response(i: int, code: str) -> Response:
    written = "en" if i % 10 == 9 else code
    return Response(_id(i), code, _text(i, code, 0), _text(i, written, 2), "stop", 40)


def _translation(i: int, source: str, target: str) -> Translation:
    own, failed = _response(i, source), (i + len(target) + ord(target[0])) % 20 == 0
    text = None if failed else _text(i, target, 1)
    return Translation(own.id, source, target, own.response, text, "truncated" if failed else None)


def _id(i: int) -> str:
    return f"p{i:07d}"


def _text(i: int, code: str, part: int) -> str:
    """Another one for every prompt and part: words of the article in an order of their own."""
    words = ARTICLE[code].split(" ") if " " in ARTICLE[code] else list(ARTICLE[code])
    start = random.Random(3 * i + part).randrange(len(words))
    return (" " if " " in ARTICLE[code] else "").join([*words[start:], *words[:start]]) + f" {i}"


def _config(folder: Path, count: int) -> RunConfig:
    languages = ",".join(list(ARTICLE)[1:])
    words = ["iterations=1", f"languages.non_dominant=[{languages}]", "languages.unseen=[]", "evaluation=[]"]
    return compose_run(["prompts=jsonl", f"prompts.root={folder}", f"prompts.limit={count}", *words,
                        "model=lab", "tracking=none", f"paths.outputs={folder}/outputs"])  # fmt: skip


def _peak() -> int:
    """Bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _process(what: str, count: int) -> Taken:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "experiments.bench.records", "--one", what, folder, str(count)]
        ended = subprocess.run(
            command, cwd=ROOT, env=environment(1), stdout=subprocess.PIPE, text=True, check=False
        )
    if ended.returncode != 0:
        raise SystemExit(f"{what} of {count:,}: the process ended with code {ended.returncode}")
    return Taken(**json.loads(ended.stdout.splitlines()[-1]))


if __name__ == "__main__":
    sys.exit(main())
