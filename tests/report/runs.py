"""Run directories as a run leaves them, made up in a second: a model that learns, scored for real."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from lidr import jsonl
from lidr.compose import compose_run
from lidr.config import RunConfig, to_yaml
from lidr.evaluation import collect_scores, write_results
from lidr.evaluation.results import write_scores
from lidr.evaluation.run import benchmark_prompts, score, score_pairs
from lidr.lab.world import find_problem, render_answer, render_prompt
from lidr.records import Pair, Prompt, Response, to_json

EVIL = "=1+1 | <script>alert(1)</script> **bold** `x` $y$\n\nnext_line \\ end"


@dataclass(frozen=True)
class Skill:
    """What a made-up M_t is able to do: shares of right and of off-target answers."""

    right: float
    off: float


SKILLS = {
    "en": Skill(0.86, 0.0),
    "es": Skill(0.62, 0.06),
    "de": Skill(0.55, 0.12),
    "fr": Skill(0.5, 0.1),
    "ru": Skill(0.35, 0.2),
    "zh": Skill(0.22, 0.4),
}


def make_run(
    folder: Path,
    overrides: Sequence[str] = (),
    *,
    limit: int = 60,
    evaluated: int | None = None,
    gain: float = 0.12,
) -> RunConfig:
    """Writes a run's files.

    Args:
        folder: the run directory.
        overrides: of the configuration.
        limit: problems of the benchmark.
        evaluated: the last iteration that is evaluated; all where it is None.
        gain: how much an iteration improves the weaker languages.
    """
    config = compose_run(["tracking=none", f"evaluation.lab.prompts.limit={limit}", *overrides])
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(to_yaml(config), encoding="utf-8")
    for t in range(config.iterations + 1):
        if t:
            _pairs(config, folder / f"iteration-{t}", t)
            _training(config, folder / f"iteration-{t}" / "training", t)
        if evaluated is None or t <= evaluated:
            _evaluation(config, folder / f"iteration-{t}", t, gain)
    write_results(folder / "results.json", collect_scores(folder), config)
    return config


def _evaluation(config: RunConfig, folder: Path, t: int, gain: float) -> None:
    scores = []
    for name, benchmark in config.evaluation.items():
        prompts = benchmark_prompts(benchmark, config.languages, config.seed)
        for code, listed in prompts.items():
            path = folder / "evaluation" / name / f"{code}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            rng = random.Random(f"{config.seed} {t} {code}")
            jsonl.write(path, (to_json(_answer(p, t, gain, rng)) for p in listed))
        scores += score(benchmark, prompts, folder / "evaluation" / name, config.languages, t)
    write_scores(folder / "evaluation", [*scores, *score_pairs(config, t, folder / "pairs")])


def _answer(prompt: Prompt, t: int, gain: float, rng: random.Random) -> Response:
    skill, problem = SKILLS[prompt.language], find_problem(prompt.id)
    weaker = prompt.language != "en"
    right = rng.random() < skill.right + (gain * t if weaker else -0.01 * t)
    language = "en" if rng.random() < skill.off / (1 + t) else prompt.language
    text = render_answer(problem, language)
    if not right:
        text = text.replace(str(problem.answer), str(problem.answer + 1))
    return Response(prompt.id, prompt.language, prompt.prompt, text, "stop", 30)


def _pairs(config: RunConfig, folder: Path, t: int) -> None:
    prompts, pairs = [], []
    dominant = config.languages.dominant
    rng = random.Random(f"pairs {config.seed} {t}")
    for number in range(30):
        problem = find_problem(f"lab-train-{30 * t + number:06d}")
        prompts.append(Prompt(problem.id, dominant, render_prompt(problem, dominant), str(problem.answer)))
        for code in config.languages.trained:
            chosen = render_answer(problem, code)
            wrong = chosen.replace(str(problem.answer), str(problem.answer + (rng.random() < 0.7)))
            origins = ("en", "fr->en") if code == dominant else (f"en->{code}", code)
            pairs.append(Pair(problem.id, code, render_prompt(problem, code), chosen, wrong, *origins))
    pairs[1] = Pair(**(to_json(pairs[1]) | {"rejected": EVIL}))
    for name, records in ((f"prompts/{dominant}", prompts), ("pairs/pairs", pairs)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        jsonl.write(folder / f"{name}.jsonl", map(to_json, records))
    (folder / "pairs" / "audit.json").write_text(json.dumps(_audit(config)), encoding="utf-8")


def _audit(config: RunConfig) -> dict[str, object]:
    target = {"rate": 0.95, "on": 19, "off": 1, "undetermined": 2}
    dropped = {"translation_error": 2, "truncated": 0}
    cells = [
        {
            "type": "en" if code == config.languages.dominant else "nl",
            "language": code,
            "candidates": 32,
            "kept": 30,
            "dropped": dropped,
            "on_target": {"chosen": target, "rejected": target | {"rate": None}},
            "mean_length_ratio": 1.04,
        }
        for code in config.languages.trained
    ]
    total = {reason: count * len(cells) for reason, count in dropped.items()}
    return {"candidates": 32 * len(cells), "kept": 30 * len(cells), "dropped": total, "pairs": cells}


def _training(config: RunConfig, folder: Path, t: int) -> None:
    rng = random.Random(f"training {config.seed} {t}")
    folder.mkdir(parents=True)
    records = []
    for step in range(1, 41):
        margin = 1.2 * (1 - math.exp(-step / 12)) / t + rng.gauss(0, 0.08) * (step > 1)
        loss = math.log1p(math.exp(-margin)) + 0.05 / t + rng.gauss(0, 0.01) * (step > 1)
        values = {"train/loss": loss, "train/margin": margin, "train/accuracy": 0.5 + margin / 3}
        records.append(
            {"iteration": t, "step": step, **values, "train/chosen_drift": 0.1 * margin, "seconds": 0.2}
        )
    jsonl.write(folder / "metrics.jsonl", records)


@pytest.fixture(scope="session")
def one_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("one") / "run"
    make_run(folder)
    return folder


@pytest.fixture(scope="session")
def three_runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three values of beta; the last run is not finished."""
    root = tmp_path_factory.mktemp("three")
    cases = {"0.05": (0.05, None), "0.1": (0.12, None), "0.5": (0.16, 1)}
    for beta, (gain, evaluated) in cases.items():
        make_run(root / beta, [f"objective.beta={beta}"], gain=gain, evaluated=evaluated, limit=30)
    return [root / beta for beta in cases]
