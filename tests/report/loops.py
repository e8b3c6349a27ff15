"""Loop stages on disk whose texts a test chooses; the pairs are built from them as a run builds them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from lidr import jsonl
from lidr.compose import compose_run
from lidr.config import RunConfig, to_yaml
from lidr.records import Prompt, Response, Score, Translation, to_json
from lidr.stages import Stage, StageKind
from lidr.store import RunDirectory
from lidr.synthesis import build_pairs
from lidr.synthesis.read import Route, file_name, routes_for, sample_file, samples

WORDS = {
    "en": ("The weather is nice today because", "the sun is shining over the green hills"),
    "es": ("Hoy hace buen tiempo porque", "el sol brilla sobre las verdes colinas del pueblo"),
    "de": ("Das Wetter ist heute schön, weil", "die Sonne über den grünen Hügeln scheint"),
    "ar": ("الطقس جميل اليوم لأن", "الشمس تشرق فوق التلال الخضراء في القرية"),
}
PROMPTS = {
    "en": "Write one sentence about the weather in our village today.",
    "es": "Escribe una frase sobre el tiempo que hace hoy en nuestro pueblo.",
    "de": "Schreibe einen Satz über das Wetter heute in unserem Dorf.",
    "ar": "اكتب جملة واحدة عن الطقس اليوم في قريتنا.",
}
Texts = Callable[[str, int, str, str], str | None]


def text(kind: str, number: int, source: str, target: str) -> str | None:
    """Answers and translations with every fate a pair can meet: by the prompt's number."""
    start, end = WORDS[target]
    if kind == "answer":
        if number % 10 == 3 and target != "en":
            start, end = WORDS["en"]  # off target
        return "" if number % 10 == 7 and target == "es" else f"{start} {number} {end}."
    if number % 10 == 5 and target == "es":
        return None
    if number % 10 == 6:  # the same as the answer in the target language
        return f"{WORDS[target][0]} {number} {WORDS[target][1]}."
    return f"{start} {number} {end}, {source}."


def make_loop_run(
    folder: Path,
    others: Sequence[str] = ("es", "ar"),
    *,
    prompts: int = 20,
    iterations: int = 1,
    texts: Texts = text,
    overrides: Sequence[str] = (),
    instruction: str = "",
) -> RunConfig:
    """A run without benchmarks whose loop is finished up to training, with the manifests of its stages."""
    languages = f"languages.non_dominant=[{','.join(others)}]"
    settings = ["tracking=none", "evaluation=[]", "prompts=jsonl", "prompts.root=prompts", languages]
    config = compose_run([*settings, "languages.unseen=[]", f"iterations={iterations}", *overrides])
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(to_yaml(config), encoding="utf-8")
    run = RunDirectory(folder)
    run.set_status("done")
    for t in range(1, iterations + 1):
        _iteration(run, config, t, prompts, texts, instruction)
    return config


def _iteration(
    run: RunDirectory, config: RunConfig, t: int, count: int, texts: Texts, instruction: str
) -> None:
    root = run.iteration(t)
    ids = [f"prompt-{t}-{number:05d}" for number in range(count)]
    answers: dict[tuple[int, str], str] = {}
    for code in config.languages.trained:
        asked = [Prompt(i, code, f"{PROMPTS[code]} ({n}){instruction}", str(n)) for n, i in enumerate(ids)]
        _write(root / "prompts" / f"{code}.jsonl", asked)
        given = []
        for number, prompt in enumerate(asked):
            answers[number, code] = texts("answer", number, code, code) or ""
            reason = "length" if number % 10 == 9 else "stop"
            given.append(Response(prompt.id, code, prompt.prompt, answers[number, code], reason, 12))
        _write(root / "responses" / f"{code}.jsonl", given)
    turned: dict[tuple[int, Route], str | None] = {(n, (c,)): text for (n, c), text in answers.items()}
    for route in routes_for(config.languages, config.pairs):
        made, came, (source, target) = [], "-".join(route[:-1]), route[-2:]
        for number, identity in enumerate(ids):
            read = turned[number, route[:-1]]
            found = None if read is None else texts("translation", number, came, target) or None
            error = None if found else "no closing tag"
            made.append(Translation(identity, source, target, read or "", found, error))
            turned[number, route] = found
        _write(root / "translations" / file_name(route), made)
    for code, sample in samples(config.languages, config.pairs):
        scored = [_score(i, code, sample, n, answers[n, code]) for n, i in enumerate(ids)]
        _write(root / "scores" / sample_file(code, sample), scored)
    compared = root / ("scores" if config.pairs.rival else "translations")
    build_pairs(root / "prompts", root / "responses", compared, root / "pairs", config)
    _train(root / "training", t)
    for kind in StageKind:
        stage = Stage(kind, t)
        if run.folder(stage).exists():
            run.finish(stage, {}, {}, [p for p in run.folder(stage).iterdir() if p.is_file()], {}, 1.0)


def _score(identity: str, code: str, sample: int, number: int, answer: str) -> Score:
    """Of the own answer, or of one that says more; none of every eighth prompt's drawn answers has a score."""
    text = f"{answer} {sample}" if sample else answer
    if (sample and number % 8 == 1) or not answer.strip():
        return Score(identity, code, sample, text, None, 0, "empty")
    return Score(identity, code, sample, text, -1.0 - (sample + number) % 3, 12, None)


def _train(folder: Path, t: int) -> None:
    folder.mkdir()
    records = [
        {"iteration": t, "step": s, "train/loss": 0.7 / s, "train/margin": 0.1 * s, "train/accuracy": 0.9}
        for s in range(1, 31)
    ]
    jsonl.write(folder / "metrics.jsonl", records)


def _write(path: Path, records: Sequence[Prompt | Response | Translation | Score]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    jsonl.write(path, map(to_json, records))


def tear(path: Path, lines: int) -> None:
    """Leaves the first whole lines of a file and half of the next one, as a kill may."""
    whole = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(whole[:lines]) + whole[lines][: len(whole[lines]) // 2])


def drop_stage(run: Path, iteration: int, kind: StageKind) -> None:
    """A stage as if it had not begun."""
    shutil.rmtree(run / f"iteration-{iteration}" / kind)


def audit_of(run: Path, iteration: int) -> dict[str, object]:
    found: dict[str, object] = json.loads(
        (run / f"iteration-{iteration}" / "pairs" / "audit.json").read_text(encoding="utf-8")
    )
    return found
