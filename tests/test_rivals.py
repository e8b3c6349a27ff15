"""A rival's pairs through the stages of a run, on the lab."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lidr import jsonl
from lidr.chat import ChatFormat
from lidr.compose import compose_run
from lidr.config import RunConfig
from lidr.estimate import estimate
from lidr.execute import ensure
from lidr.models import load_model, load_tokenizer
from lidr.paths import resolve_model
from lidr.stages import Stage, StageKind, stages
from lidr.store import RunDirectory
from lidr.synthesis.tags import Tags
from tests.pretended import Made, compute, pretend

pytestmark = pytest.mark.xdist_group("shards")
SCORED = [StageKind.PROMPTS, StageKind.RESPONSES, StageKind.SAMPLES, StageKind.SCORES, StageKind.PAIRS]


def config(outputs: Path, *more: str, pairs: str = "mapo") -> RunConfig:
    quick = ["experiment=lab", "debug=quick", "languages.non_dominant=[es,de]", "languages.unseen=[]"]
    drawn = ["pairs.rival.samples=2", "pairs.rival.temperature=2.0"] if pairs == "mapo" else []
    return compose_run(
        [
            *quick,
            "evaluation=[]",
            "tracking=none",
            f"paths.outputs={outputs}",
            f"pairs={pairs}",
            *drawn,
            *more,
        ]
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunConfig, RunDirectory]:
    """A run up to its pairs."""
    settings = config(tmp_path_factory.mktemp("outputs"))
    return settings, run(settings)


def run(settings: RunConfig) -> RunDirectory:
    directory = RunDirectory.of(settings)
    directory.open(settings)
    for kind in SCORED:
        ensure(Stage(kind, 1), settings, directory)
    return directory


def records(directory: RunDirectory, kind: StageKind, name: str) -> list[dict[str, object]]:
    return list(jsonl.read(directory.folder(Stage(kind, 1)) / name))


def test_the_stages_of_a_rival(tmp_path: Path) -> None:
    kinds = [stage.kind for stage in stages(config(tmp_path)) if stage.iteration == 1]
    assert kinds == [*SCORED, StageKind.TRAINING]
    assert StageKind.SAMPLES not in [s.kind for s in stages(config(tmp_path, pairs="lidr"))]


def test_scores_are_those_of_transformers_own_loss(made: tuple[RunConfig, RunDirectory]) -> None:
    settings, directory = made
    path = resolve_model(settings.model.path)
    model = load_model(path, settings.model.precision, torch.device("cpu"), None)
    chat, tags = (
        ChatFormat(load_tokenizer(path, None), settings.model.system_prompt),
        Tags(settings.translator),
    )
    english = records(directory, StageKind.RESPONSES, "en.jsonl")
    for sample in range(3):
        source = (StageKind.SAMPLES, f"es-{sample}.jsonl") if sample else (StageKind.RESPONSES, "es.jsonl")
        answered = records(directory, *source)
        for wanted, answer, found in zip(
            english, answered, records(directory, StageKind.SCORES, f"es-{sample}.jsonl"), strict=True
        ):
            assert (found["id"], found["source"]) == (answer["id"], answer["response"])
            if answer["finish_reason"] != "stop" or not str(answer["response"]).strip():
                assert found["error"] in ("truncated", "empty")
                continue
            user = tags.request(str(answer["response"]), "es", "en")
            prompt = chat.prompt_ids(user, tags.config.open_tag)
            text = str(wanted["response"]) + tags.config.close_tag
            ids = chat.tokenizer(text, add_special_tokens=False)["input_ids"]
            labels = torch.tensor([[-100] * len(prompt) + ids])
            with torch.inference_mode():
                loss = model(input_ids=torch.tensor([prompt + ids]), labels=labels).loss.item()
            assert found["score"] == pytest.approx(-loss, rel=1e-4, abs=1e-5)
            assert found["tokens"] == len(ids)


def test_the_draws_differ_and_the_pairs_follow_the_scores(made: tuple[RunConfig, RunDirectory]) -> None:
    _, directory = made
    one, two = (records(directory, StageKind.SAMPLES, f"es-{n}.jsonl") for n in (1, 2))
    assert [r["response"] for r in one] != [r["response"] for r in two]
    pairs = records(directory, StageKind.PAIRS, "pairs.jsonl")
    assert pairs
    for pair in pairs:
        scores = {
            str(s["source"]): s["score"]
            for n in range(3)
            for s in records(directory, StageKind.SCORES, f"{pair['language']}-{n}.jsonl")
            if s["id"] == pair["id"] and s["score"] is not None
        }
        values = [float(str(v)) for v in scores.values()]
        assert scores[str(pair["chosen"])] == max(values)
        assert scores[str(pair["rejected"])] == min(values)


def test_another_run_draws_and_scores_the_same(made: tuple[RunConfig, RunDirectory], tmp_path: Path) -> None:
    _, directory = made
    again = run(config(tmp_path))
    for kind in (StageKind.SAMPLES, StageKind.SCORES, StageKind.PAIRS):
        folder = directory.folder(Stage(kind, 1))
        for path in folder.glob("*.jsonl"):
            assert (again.folder(Stage(kind, 1)) / path.name).read_bytes() == path.read_bytes(), path


def test_the_requests_are_those_that_were_expected(
    made: tuple[RunConfig, RunDirectory], tmp_path: Path
) -> None:
    settings, directory = made
    found = {e.stage.kind: e.need for e in estimate(config(tmp_path)).stages if e.stage.iteration == 1}
    prompts = settings.prompts.limit
    assert found[StageKind.SAMPLES].requests.expected == prompts * 2 * 2
    assert len(records(directory, StageKind.SAMPLES, "de-2.jsonl")) == prompts
    scored = found[StageKind.SCORES]
    assert scored.requests.high == prompts * 2 * 3
    assert scored.answer_tokens.high == 0
    assert scored.prompt_tokens.expected > 0
    assert not [e for e in estimate(settings).stages if e.stage.kind in SCORED and not e.state.is_done]


def test_responses_are_shared_with_the_papers_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts: Made = pretend(monkeypatch)
    compute(config(tmp_path, pairs="lidr"))
    counts.clear()
    compute(config(tmp_path))
    fresh = {StageKind.SAMPLES: 1, StageKind.SCORES: 1, StageKind.PAIRS: 1, StageKind.TRAINING: 1}
    assert counts == fresh, "the model's own answers are taken over"
    counts.clear()
    compute(config(tmp_path, "objective.beta=0.3"))
    assert counts == {StageKind.TRAINING: 1}
    counts.clear()
    compute(config(tmp_path, "translator.template='{source} -> {target_language}'"))
    assert counts == {k: v for k, v in fresh.items() if k is not StageKind.SAMPLES}


def test_a_translators_other_content_is_another_input(tmp_path: Path) -> None:
    settings = config(tmp_path, "translator=engine", "translator.model.path=builtin:lab")
    directory = run(settings)
    manifest = directory.manifest(Stage(StageKind.SCORES, 1))
    assert manifest is not None
    assert manifest.inputs.keys() == {"iteration-1/responses", "iteration-1/samples", "translator"}
