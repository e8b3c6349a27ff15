"""How often each detector of language errs on texts of known language: the floor under every off-target rate.

    python -m experiments.detectors --data FOLDER

FOLDER holds the official files: alpagasus/, MGSM/, gsm8k/. Texts are whole prompts and questions in 14 languages,
their first 40 characters (as short answers are), and GSM8K questions in five. Each is told among the
languages there, the last ones among the five. Prints Markdown.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from lidr.identification import DETECTORS, detector_name, identify
from lidr.identification.detectors import detector
from lidr.identification.text import letters, prose, words

LANGUAGES = ("ar", "bn", "de", "en", "es", "fr", "it", "ja", "ko", "ru", "sw", "te", "th", "zh")
FIVE = ("en", "es", "ru", "de", "fr")
SHORT = 40  # characters

Identify = Callable[[str, Sequence[str]], str | None]


def main(argv: Sequence[str] | None = None) -> int:
    """Prints a table for each kind of text."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the official data files")
    parser.add_argument("--limit", type=int, default=300, help="texts of a set and language")
    args = parser.parse_args(argv)
    texts = {code: list(prompts(args.data, code, args.limit)) for code in LANGUAGES}
    short = {code: [text[:SHORT] for text in own] for code, own in texts.items()}
    asked = {code: list(questions(args.data, code, args.limit)) for code in FIVE}
    say(f"Detectors: {detector_name()}; at most {args.limit} texts of a set and language.\n")
    table("Whole texts, among 14 languages", texts, LANGUAGES)
    table(f"Their first {SHORT} characters, among 14 languages", short, LANGUAGES)
    table("Questions of GSM8K, among the paper's five languages", asked, FIVE)
    return 0


def prompts(data: Path, code: str, limit: int) -> Iterator[str]:
    """Prompts and questions of a language."""
    sets = (
        ("alpagasus/subset/id_0_1000/{}.jsonl", "instruction"),
        ("MGSM/mgsm_{}.jsonl", "query"),
    )
    for pattern, key in sets:
        yield from _read(data / pattern.format(code), key, limit)


def questions(data: Path, code: str, limit: int) -> Iterator[str]:
    """Questions of GSM8K."""
    yield from _read(data / f"gsm8k/train/{code}.jsonl", "instruction", limit)


def _read(path: Path, key: str, limit: int) -> Iterator[str]:
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines()[:limit]:
            yield json.loads(line)[key]


def alone(name: str) -> Identify:
    """One detector without script and majority, on the same words."""

    def found(text: str, among: Sequence[str]) -> str | None:
        own = words(prose(text))
        return detector(name, tuple(sorted(among)))(own) if letters(own) else None

    return found


def table(title: str, texts: dict[str, list[str]], among: Sequence[str]) -> None:
    """Wrong and undetermined shares by language and detector."""
    columns: dict[str, Identify] = {name: alone(name) for name in DETECTORS} | {"**lidr**": identify}
    say(
        f"{title}: wrong / undetermined, %\n\n| | n | {' | '.join(columns)} |\n|---|--:|{'--:|' * len(columns)}"
    )
    for code, own in texts.items():
        if own:
            cells = (_rates([find(text, among) for text in own], code) for find in columns.values())
            say(f"| {code} | {len(own)} | {' | '.join(cells)} |")
    say("")


def _rates(found: Sequence[str | None], code: str) -> str:
    wrong = sum(f is not None and f != code for f in found)
    unknown = sum(f is None for f in found)
    return f"{100 * wrong / len(found):.1f} / {100 * unknown / len(found):.1f}"


def say(text: str) -> None:
    """Prints a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
