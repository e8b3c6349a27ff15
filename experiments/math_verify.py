"""lidr's extraction of a final number beside math-verify's, on answers of every language whose number is known.

    pip install 'math-verify[antlr4-9-3]'    # 0.9.0; in an environment of its own
    python -m experiments.math_verify

The answers are those of `tests/evaluation/answer_forms.py`, which lidr's extraction was written to read: they say what
another one does not, and not how good this one is. Prints Markdown.
"""

from __future__ import annotations

import logging
import sys
from fractions import Fraction
from typing import Any

from lidr.evaluation.extraction import extract
from tests.evaluation.answer_forms import FORMS


def main() -> int:
    """Prints a row for each language."""
    try:
        import math_verify  # type: ignore[import-not-found]
    except ImportError:
        sys.stderr.write("math-verify is not installed: pip install 'math-verify[antlr4-9-3]'\n")
        return 2
    logging.disable(logging.CRITICAL)  # it logs what it cannot read
    sys.stdout.write("| | n | lidr | math-verify |\n| --- | ---: | ---: | ---: |\n")
    for language, forms in FORMS.items():
        ours = sum(_ours(text, language) == number for text, number in forms)
        theirs = sum(_is_read(math_verify, text, Fraction(number)) for text, number in forms)
        sys.stdout.write(f"| {language} | {len(forms)} | {ours} | {theirs} |\n")
    return 0


def _ours(text: str, language: str) -> Fraction | None:
    found = extract(text, language)
    return None if found is None else found.value


def _is_read(math_verify: Any, text: str, number: Fraction) -> bool:
    gold = math_verify.parse(f"${number.numerator}/{number.denominator}$")
    return bool(math_verify.verify(gold, math_verify.parse(text)))


if __name__ == "__main__":
    sys.exit(main())
