"""lm-eval's tasks on the lab's model: against log-likelihoods calculated here, resumed, and refused in one line."""

from __future__ import annotations

import dataclasses
import importlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lidr import jsonl
from lidr.compose import compose_run
from lidr.config import Accelerator, Precision, RunConfig, TaskMetric, read_config
from lidr.errors import ConfigError, LidrError
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
from lidr.evaluation.scores import Score
from lidr.evaluation.statistics import Observation, mean_of_groups
from lidr.execute import done, ensure
from lidr.models import load_model, load_tokenizer, torch_device
from lidr.paths import resolve_model
from lidr.preflight import preflight
from lidr.report import build_report
from lidr.stages import Stage, StageKind
from lidr.store import RunDirectory
from tests.evaluation import toy_tasks

MODEL = resolve_model("builtin:lab")
needs_lm_eval = pytest.mark.skipif(
    importlib.util.find_spec("lm_eval") is None,
    reason="lm-eval is not installed: pip install 'lidr[lm_eval]'",
)


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """What HF_HUB_OFFLINE and HF_DATASETS_OFFLINE say, also where the libraries were imported before."""
    for variable in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.setenv(variable, "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    if importlib.util.find_spec("datasets") is not None:
        monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)


def configured(folder: Path, **changes: Any) -> RunConfig:
    """A run with the toy benchmark alone: en is dominant, es is not."""
    base = compose_run(
        [
            "evaluation=[arc]",
            "tracking=none",
            "languages.non_dominant=[es]",
            "languages.unseen=[]",
            "trainer=cpu",
        ]
    )
    metrics = {
        "accuracy": TaskMetric("toy_{language}", "acc"),
        "accuracy_norm": TaskMetric("toy_{language}", "acc_norm"),
    }
    benchmark = dataclasses.replace(
        base.lm_eval_benchmarks["arc"],
        **{"metrics": metrics, "renamed": {}, "num_fewshot": 0, "include_path": str(folder), "batch_size": 3}
        | changes,
    )
    return dataclasses.replace(base, evaluation={"toy": benchmark})


def run(config: RunConfig, folder: Path, model: str = MODEL) -> list[Score]:
    harness.complete(config, model, folder)
    return evaluate(config, 0, _no_engine, folder, folder / "pairs")


def _no_engine() -> Any:
    raise AssertionError("nothing is asked of an engine")


def find(scores: Sequence[Score], language: str, metric: str) -> Score:
    (found,) = [s for s in scores if (s.language, s.metric) == (language, metric)]
    return found


def log_likelihood(model: Any, tokenizer: Any, context: str, continuation: str) -> float:
    """log p(continuation | context), a forward pass for each, nothing of lm-eval in it.

    As in lm-eval the continuation's tokens are those of the whole text behind as many as the context has, and they
    follow the context's own: the lab's tokenizer would otherwise merge the colon with the blank behind it.
    """
    special = not context.startswith(tokenizer.bos_token)  # a chat template writes its own
    context_ids, whole = (
        tokenizer(text, add_special_tokens=special)["input_ids"] for text in (context, context + continuation)
    )
    ids = context_ids + whole[len(context_ids) :]
    with torch.inference_mode():
        scores = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    return sum(float(scores[i - 1, ids[i]]) for i in range(len(context_ids), len(ids)))


@cache
def expected(
    language: str, path: str = MODEL, shots: int = 0, chat: bool = False
) -> dict[str, dict[str, float]]:
    """acc and acc_norm of every item, by id."""
    model, tokenizer = load_model(path, Precision.FP32, torch_device(Accelerator.CPU)), load_tokenizer(path)
    before = "".join(
        f"{d['question']}\nAnswer: {d['options'][d['right']]}\n\n" for d in toy_tasks.shots(language)[:shots]
    )
    found = {}
    for document in toy_tasks.documents(language):
        context, options = f"{before}{document['question']}\nAnswer:", document["options"]
        if chat:
            turns = [{"role": "user", "content": context}]
            context = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        scores = [
            log_likelihood(model, tokenizer, context, option if chat else f" {option}") for option in options
        ]
        by_length = [score / len(option) for score, option in zip(scores, options, strict=True)]
        found[document["id"]] = {
            "accuracy": float(np.argmax(scores) == document["right"]),
            "accuracy_norm": float(np.argmax(by_length) == document["right"]),
        }
    return found


def stored(folder: Path, language: str) -> dict[str, dict[str, float]]:
    records = jsonl.read(folder / "toy" / f"{language}.jsonl")
    return {r["id"]: {k: r[k] for k in ("accuracy", "accuracy_norm")} for r in records}


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
        evaluate(config, 0, _no_engine, tmp_path / "killed", tmp_path / "pairs")
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
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"item_keys": ("number",)},
            r"evaluation\.toy\.item_keys: the documents of 'toy_en' have no key 'number' -> choose from id, options",
        ),
        (
            {"metrics": {"accuracy": TaskMetric("toy_{language}", "f1")}},
            r"metrics\.accuracy\.metric: 'toy_en' has no metric 'f1' that is a mean .* choose from acc, acc_norm",
        ),
        (
            {"metrics": {"accuracy": TaskMetric("toy_{language}", "acc,strict")}},
            r"'toy_en' has no metric 'acc,strict' that is a mean over items -> choose from acc,none, acc_norm,none",
        ),
    ],
)
def test_what_a_task_does_not_have_is_one_line(
    tmp_path: Path, changes: Mapping[str, Any], message: str
) -> None:
    config = configured(toy_tasks.write(tmp_path / "tasks"), **changes)
    with pytest.raises(LidrError, match=message):
        harness.complete(config, MODEL, tmp_path / "evaluation")


@needs_lm_eval
def test_data_that_cannot_be_reached_is_one_line(tmp_path: Path) -> None:
    folder = toy_tasks.write(tmp_path / "tasks", dataset_path="nobody/nothing", dataset_kwargs=None)
    with pytest.raises(
        LidrError, match=r"evaluation\.toy: lm-eval cannot load the data of 'toy_en' .*HF_HOME"
    ):
        harness.complete(configured(folder), MODEL, tmp_path / "evaluation")
    broken = toy_tasks.write(tmp_path / "broken", doc_to_choice="{{nothing}}")
    with pytest.raises(LidrError, match=r"cannot load the data of 'toy_en' .*mend the task's file"):
        harness.complete(configured(broken), MODEL, tmp_path / "evaluation")


@needs_lm_eval
def test_a_number_that_is_no_share_is_refused(tmp_path: Path) -> None:
    metrics = [{"metric": "points", "aggregation": "mean", "higher_is_better": True}]
    folder = toy_tasks.write(tmp_path / "tasks", metric_list=metrics)
    (folder / "utils.py").write_text("def points(doc, results):\n    return {'points': 7}\n")
    for path in folder.glob("toy_*.yaml"):
        path.write_text(path.read_text().rstrip()[:-1] + ', "process_results": !function utils.points}')
    config = configured(folder, metrics={"points": TaskMetric("toy_{language}", "points")})
    with pytest.raises(LidrError, match="'points' of 'toy_en' is 7 for one item, no share between 0 and 1"):
        harness.complete(config, MODEL, tmp_path / "evaluation")


def test_without_lm_eval_a_run_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name.partition('.')[0]!r}")

    monkeypatch.setattr(harness_tasks, "import_module", absent)
    with pytest.raises(
        ConfigError, match=r"evaluation\.toy: lm-eval cannot be imported .*pip install 'lidr\[lm_eval\]'"
    ):
        preflight(configured(tmp_path))


def test_importing_lidr_imports_no_lm_eval() -> None:
    import subprocess
    import sys

    code = "import sys, lidr.__main__, lidr.loop, lidr.work, lidr.evaluation.run; sys.exit('lm_eval' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@needs_lm_eval
def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"evaluation\.toy\.include_path: there is no folder"):
        preflight(configured(tmp_path / "nowhere"))


@needs_lm_eval
@pytest.mark.parametrize(
    ("task", "message"),
    [
        (
            "tyo_{language}",
            r"evaluation\.toy\.metrics: lm-eval knows no task 'tyo_en' -> did you mean 'toy_en'",
        ),
        (
            "toy_{language}",
            r"no task 'toy_de': none in de, there are en, es -> type evaluation\.toy\.languages=\[en\]",
        ),
        ("quite_other_{language}", "knows no task 'quite_other_en' -> `lm-eval ls tasks`"),
    ],
)
def test_an_unknown_task_is_a_line_with_the_nearest_names(
    tmp_path: Path, task: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = harness_tasks._catalogue
    monkeypatch.setattr(harness_tasks, "_catalogue", lambda manager, folder, _: real(manager, folder, False))
    config = configured(
        toy_tasks.write(tmp_path / "tasks"),
        metrics={"accuracy": TaskMetric(task, "acc")},
        languages=("en", "de"),
    )
    with pytest.raises(ConfigError, match=message):
        preflight(config)


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
