from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from pathlib import Path

import pytest

from lidr import jsonl
from lidr.compose import compose_run
from lidr.config import RunConfig, SamplingConfig
from lidr.engines.base import Completion, FinishReason, Request
from lidr.evaluation.run import evaluate
from lidr.judging.lab_judge import _by_prompt
from lidr.lab.world import problems, render_answer, render_prompt
from lidr.records import Pair, Prompt, Response, Translation, to_json
from lidr.stages import Stage, StageKind
from lidr.store import RunDirectory

LANGUAGES = ("en", "es", "de", "fr", "ru", "zh")


class Answering:
    """Right on `right` of every ten problems, from the `shift`-th before the first on, else wrong by one."""

    def __init__(self, right: int, shift: int = 0, more: str = "") -> None:
        self.right, self.shift, self.more = right, shift, more

    def stream(
        self, requests: Iterable[Request], sampling: SamplingConfig, done: Container[str] = frozenset()
    ) -> Iterator[list[Completion]]:
        for request in requests:
            if request.key not in done:
                yield [Completion(request.key, self.text(request), FinishReason.STOP, 9)]

    def text(self, request: Request) -> str:
        problem, language = _by_prompt()[request.user]
        text = render_answer(problem, language)
        if (int(problem.id[-6:]) + self.shift) % 10 >= self.right:
            text = text.replace(str(problem.answer), str(problem.answer + 1))
        return self.more + text


def make_run(root: Path, rights: tuple[int, ...], prompts: int = 40, more: str = "", seed: int = 0) -> Path:
    """A run folder with answers of models that are right in so many tenths, and an iteration's pairs."""
    config = compose_run(
        [
            "tracking=none",
            f"paths.outputs={root}",
            f"evaluation.lab.prompts.limit={prompts}",
            f"iterations={len(rights) - 1}",
            f"seed={seed}",
        ]
    )
    run = RunDirectory.of(config)
    run.open(config)
    run.set_status("done")
    for t, right in enumerate(rights):
        stage = Stage(StageKind.EVALUATION, t)
        folder = run.folder(stage)
        engine = Answering(right, 4 if t else 0, more if t else "")
        evaluate(config, t, lambda engine=engine: engine, folder, run.iteration(t) / "pairs")  # type: ignore[misc]
        run.finish(stage, {}, {}, [], {}, 0.0)
    if len(rights) > 1:
        _synthesis(run, config)
    return run.root


def _synthesis(run: RunDirectory, config: RunConfig) -> None:
    """Prompts, answers right in en and wrong elsewhere, exact translations of both, and the pairs of them."""
    folder, chosen = run.iteration(1), problems("train")[:20]
    trained = config.languages.trained
    right = {c: {p.id: render_answer(p, c) for p in chosen} for c in trained}
    wrong = {
        c: {p.id: right[c][p.id].replace(str(p.answer), str(p.answer + 1)) for p in chosen} for c in trained
    }
    for code in trained:
        prompts = [Prompt(p.id, code, render_prompt(p, code), str(p.answer)) for p in chosen]
        _write(folder / "prompts" / f"{code}.jsonl", prompts)
        own = right[code] if code == "en" else wrong[code]
        answers = [Response(p.id, code, p.prompt, own[p.id], "stop", 9) for p in prompts]
        _write(folder / "responses" / f"{code}.jsonl", answers)
    pairs = []
    for code in trained[1:]:
        for source, target, texts in (("en", code, right), (code, "en", wrong)):
            found = [
                Translation(p.id, source, target, texts[source][p.id], texts[target][p.id], None)
                for p in chosen
            ]
            _write(folder / "translations" / f"{source}-{target}.jsonl", found)
        pairs += [
            Pair(
                p.id, code, render_prompt(p, code), right[code][p.id], wrong[code][p.id], f"en->{code}", code
            )
            for p in chosen
        ]
    _write(folder / "pairs" / "pairs.jsonl", pairs)
    for kind in (StageKind.PROMPTS, StageKind.RESPONSES, StageKind.TRANSLATIONS, StageKind.PAIRS):
        run.finish(Stage(kind, 1), {}, {}, [], {}, 0.0)


def _write(path: Path, records: Iterable[Prompt | Response | Translation | Pair]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    jsonl.write(path, map(to_json, records))


@pytest.fixture(scope="module")
def lab_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """M_0 is right in 3 of 10 problems, M_1 in 2 of these and 4 others."""
    return make_run(tmp_path_factory.mktemp("runs"), (3, 6))
