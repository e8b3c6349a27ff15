"""Tasks of lm-eval on the lab's model: against log-likelihoods calculated here, by language, and resumed."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lidr.compose import compose_run
from lidr.config import Accelerator, Precision, TaskMetric, read_config
from lidr.errors import LidrError
from lidr.estimate import estimate
from lidr.evaluation import (
    collect_scores,
    harness,
    harness_store,
    harness_tasks,
    read_results,
    write_results,
)
from lidr.evaluation.outcomes import read as read_outcomes
from lidr.evaluation.run import evaluate
from lidr.evaluation.statistics import Observation, mean_of_groups
from lidr.execute import done, ensure
from lidr.models import load_model, load_tokenizer, torch_device
from lidr.report import build_report
from lidr.stages import Stage, StageKind
from lidr.store import RunDirectory
from tests.evaluation import okapi_rows, toy_tasks
from tests.evaluation.toy_runs import MODEL, configured, expected, find, needs_lm_eval, no_engine, run, stored

pytestmark = pytest.mark.usefixtures("offline")


@needs_lm_eval
@pytest.mark.parametrize("shots", [0, toy_tasks.SHOTS])
def test_every_item_comes_to_what_the_log_likelihoods_say(tmp_path: Path, shots: int) -> None:
    config = configured(toy_tasks.write(tmp_path / "tasks"), num_fewshot=shots)
    scores = run(config, tmp_path / "evaluation")
    for language in ("en", "es"):
        wanted = expected(language, shots=shots)
        assert stored(tmp_path / "evaluation", language) == wanted
        for metric in ("accuracy", "accuracy_norm"):
            score = find(scores, language, metric)
            assert score.value == pytest.approx(np.mean([v[metric] for v in wanted.values()]))
            assert score.n == len(wanted)
    assert len({find(scores, code, "accuracy").value for code in ("en", "es")} - {0.0, 1.0}) >= 1


@needs_lm_eval
def test_chat_turns_begin_once(tmp_path: Path) -> None:
    config = configured(toy_tasks.write(tmp_path / "tasks"), chat_template=True)
    run(config, tmp_path / "evaluation")
    assert stored(tmp_path / "evaluation", "en") == expected("en", chat=True)


@needs_lm_eval
def test_items_are_clustered_over_languages(tmp_path: Path) -> None:
    """8 items in en, 7 of them in es: the means draw 8 items, each with its languages."""
    toy_tasks.write(tmp_path / "tasks", ("en", "es", "de"))
    config = configured(tmp_path / "tasks")
    config = dataclasses.replace(
        config, languages=dataclasses.replace(config.languages, non_dominant=("es", "de"))
    )
    scores = run(config, tmp_path / "evaluation")
    seen = [
        Observation(name, language, values["accuracy"])
        for language in ("es", "de")
        for name, values in expected(language).items()
    ]
    wanted = mean_of_groups(seen, ("es", "de"))
    found = find(scores, "mean non-dominant", "accuracy")
    assert (found.value, found.low, found.high, found.n) == pytest.approx((*wanted[:3], 8))
    assert find(scores, "all", "imbalance_gap").n == 8
    assert {s.metric for s in scores if s.language == "all"} == {
        "imbalance_gap",
        "imbalance_gap_accuracy_norm",
    }
    assert len(read_outcomes(tmp_path / "evaluation" / "toy")) == 8 + 7 + 8


@needs_lm_eval
def test_a_task_comes_to_what_lm_evals_own_command_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its few-shot examples are drawn at random: by lm-eval's own seed here too."""
    folder = toy_tasks.write(tmp_path / "tasks", ("en",), fewshot_config={"sampler": "default"})
    more = "".join(json.dumps(d) + "\n" for d in toy_tasks.documents("en", 40)[toy_tasks.ITEMS :])
    (folder / "data" / "en-train.jsonl").write_text(more)
    harness.complete(configured(folder, num_fewshot=3, languages=("en",)), MODEL, tmp_path / "evaluation")
    evaluator = harness_tasks.module("lm_eval.evaluator", "x")
    for name in ("add_env_info", "get_git_commit_hash"):
        monkeypatch.setattr(evaluator, name, lambda *_: None)
    with harness_tasks.own_warnings():
        theirs = evaluator.simple_evaluate(
            model="hf",
            model_args={"pretrained": MODEL, "dtype": "float32"},
            tasks=["toy_en"],
            num_fewshot=3,
            device="cpu",
            task_manager=harness_tasks.module("lm_eval.tasks", "x").TaskManager(
                include_path=folder, include_defaults=False
            ),
        )["results"]["toy_en"]
    ours = harness_store.summary(tmp_path / "evaluation" / "toy")["toy_en"]["metrics"]
    assert ours == pytest.approx({k: v for k, v in theirs.items() if "," in k})


@needs_lm_eval
def test_lm_evals_own_standard_errors_are_kept(tmp_path: Path) -> None:
    config = configured(toy_tasks.write(tmp_path / "tasks"), limit=6)
    run(config, tmp_path / "evaluation")
    found = harness_store.summary(tmp_path / "evaluation" / "toy")["toy_en"]
    values = [v["accuracy"] for v in stored(tmp_path / "evaluation", "en").values()]
    assert len(values) == 6
    assert found["metrics"]["acc,none"] == pytest.approx(np.mean(values))
    assert found["metrics"]["acc_stderr,none"] == pytest.approx(np.std(values, ddof=1) / 6**0.5)
    assert (found["items"], found["items_of_task"], found["num_fewshot"]) == (6, 8, 0)


@needs_lm_eval
def test_an_adapter_is_evaluated_as_the_engines_load_it(tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    base = load_model(MODEL, Precision.FP32, torch_device(Accelerator.CPU))
    with harness_tasks.own_warnings():
        lora = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
        adapted: Any = get_peft_model(base, lora)
    adapted.save_pretrained(tmp_path / "adapter")
    load_tokenizer(MODEL).save_pretrained(tmp_path / "adapter")
    config = configured(toy_tasks.write(tmp_path / "tasks"))
    run(config, tmp_path / "evaluation", str(tmp_path / "adapter"))
    wanted = expected("en", str(tmp_path / "adapter"))
    assert stored(tmp_path / "evaluation", "en") == wanted
    assert wanted != expected("en")


@needs_lm_eval
def test_a_killed_attempt_goes_on_with_the_next_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configured(toy_tasks.write(tmp_path / "tasks"))
    run(config, tmp_path / "whole")
    ran: list[str] = []
    real = harness.Runner.run

    def counted(self: Any, known: Any, task: str, *rest: Any) -> Any:
        if ran and killing:
            raise KeyboardInterrupt
        ran.append(task)
        return real(self, known, task, *rest)

    monkeypatch.setattr(harness.Runner, "run", counted)
    killing = True
    with pytest.raises(KeyboardInterrupt):
        harness.complete(config, MODEL, tmp_path / "killed")
    with pytest.raises(LidrError, match=r"es\.jsonl: has no results"):
        evaluate(config, 0, no_engine, tmp_path / "killed", tmp_path / "pairs")
    killing = False
    run(config, tmp_path / "killed")
    assert ran == ["toy_en", "toy_es"]
    files = [
        {p.relative_to(d): p.read_bytes() for p in d.rglob("*") if p.is_file()}
        for d in tmp_path.glob("[wk]*")
    ]
    assert len(files) == 2
    assert files[0] == files[1]
    monkeypatch.setattr(harness, "load_model", lambda *_: pytest.fail("nothing is left to run"))
    harness.complete(config, MODEL, tmp_path / "killed")


@needs_lm_eval
def test_two_tasks_of_the_same_documents_are_two_metrics_of_an_item(tmp_path: Path) -> None:
    """As TruthfulQA's mc1 and mc2, whose documents have no ids: every language's items are its own."""
    folder = toy_tasks.write(tmp_path / "tasks")
    for language in ("en", "es"):
        toy_tasks.add(
            folder, f"other_{language}", **toy_tasks.of(folder, language) | {"doc_to_text": "{{question}}"}
        )
    metrics = {"mc1": TaskMetric("toy_{language}", "acc"), "mc2": TaskMetric("other_{language}", "acc")}
    scores = run(configured(folder, metrics=metrics, item_keys=()), tmp_path / "evaluation")
    found = read_outcomes(tmp_path / "evaluation" / "toy")
    assert len(found) == 8 + 7
    assert all(set(o.values) == {"mc1", "mc2"} for o in found)
    assert find(scores, "all", "imbalance_gap_mc1").n == 8 + 7
    assert find(scores, "es", "mc2").n == 7


@needs_lm_eval
def test_a_group_is_its_tasks(tmp_path: Path) -> None:
    folder = toy_tasks.write(tmp_path / "tasks")
    for language in ("en", "es"):
        toy_tasks.add(folder, f"more_{language}", **toy_tasks.of(folder, language))
        group = {"group": f"all_{language}", "task": [f"toy_{language}", f"more_{language}"]}
        (folder / f"_all_{language}.yaml").write_text(json.dumps(group))
    metrics = {"accuracy": TaskMetric("all_{language}", "acc")}
    known = harness_tasks.module("lm_eval.tasks", "x").TaskManager(
        include_path=folder, include_defaults=False
    )
    assert harness_tasks.parts(known, "all_en", "x") == ["toy_en", "more_en"]
    config = configured(folder, metrics=metrics)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(harness_tasks, "catalogue", lambda *_: known)
        patch.setattr(harness, "catalogue", lambda *_: known)
        scores = run(config, tmp_path / "evaluation")
    assert find(scores, "en", "accuracy").n == 8
    assert len(read_outcomes(tmp_path / "evaluation" / "toy")) == 2 * (8 + 7)


@needs_lm_eval
def test_a_stage_runs_tasks_beside_answers_and_reports_them(tmp_path: Path) -> None:
    config = configured(toy_tasks.write(tmp_path / "tasks"))
    lab = compose_run(["evaluation.lab.prompts.limit=2"]).evaluation["lab"]
    lab = dataclasses.replace(lab, languages=("en", "es"))
    paths = dataclasses.replace(config.paths, outputs=str(tmp_path / "outputs"))
    config = dataclasses.replace(config, paths=paths, evaluation=config.evaluation | {"lab": lab})
    run_directory, stage = RunDirectory.of(config), Stage(StageKind.EVALUATION, 0)
    run_directory.open(config)
    before = estimate(config)
    assert any("evaluation.toy: lm-eval's requests are not counted" in line for line in before.warnings)
    assert (before.stages[0].need.seconds, before.stages[0].need.requests.low) == (None, 4)
    ensure(stage, config, run_directory)
    assert done(stage, config, run_directory) is not None
    scores = collect_scores(run_directory.root)
    assert {s.benchmark for s in scores} == {"toy", "lab"}
    write_results(run_directory.root / "results.json", scores, config)
    meta = read_results(run_directory.root / "results.json").meta
    assert meta["benchmarks"] == {"lab": "lab", "toy": "lm_eval"}
    assert meta["versions"]["lm_eval"]
    report = build_report([run_directory.root], tmp_path / "report").markdown.read_text()
    assert "## Benchmark toy" in report
    assert "Accuracy by length (%)" in report
    assert read_config(run_directory.root / "config.yaml") == config


@needs_lm_eval
def test_the_papers_benchmarks_run_on_rows_of_their_layout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """lm-eval's own tasks of Okapi, as conf/ names them; only the rows are made up, 4 in de and 3 of them in es."""
    okapi_rows.write(tmp_path / "alexandrainst")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    tasks = Path(str(importlib.util.find_spec("lm_eval").origin)).parent / "tasks" / "okapi"  # type: ignore[union-attr]
    names = ("mmlu", "hellaswag", "arc", "truthfulqa")
    config = compose_run(
        [
            f"evaluation=[{','.join(names)}]",
            *(
                f"evaluation.{name}.{key}"
                for name in names
                for key in (f"include_path={tasks}", "num_fewshot=1")
            ),
            "languages.dominant=de",
            "languages.non_dominant=[es]",
            "languages.unseen=[]",
            "trainer.threads=1",
        ]
    )
    assert not list(harness_tasks.problems(config))
    scores = run(config, tmp_path / "evaluation")
    found = {(s.benchmark, s.metric): s for s in scores if s.language == "es"}
    assert set(found) == {
        ("mmlu", "accuracy"),
        *((name, metric) for name in ("hellaswag", "arc") for metric in ("accuracy", "accuracy_norm")),
        ("truthfulqa", "mc1"),
        ("truthfulqa", "mc2"),
    }
    assert all(s.n == 3 and s.value is not None and 0 <= s.value <= 1 for s in found.values())
    gaps = {s.benchmark: s.n for s in scores if s.language == "all"}
    assert gaps == {"mmlu": 4, "hellaswag": 4, "arc": 4, "truthfulqa": 4 + 3}
    assert 0 < find([s for s in scores if s.benchmark == "truthfulqa"], "de", "mc2").value < 1  # type: ignore[operator]
