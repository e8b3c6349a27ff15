"""The whole loop on the lab, in this process, and what it leaves for W&B."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lidr import work
from lidr.compose import compose_run
from lidr.config import RunConfig
from lidr.errors import StageError
from lidr.evaluation import collect_scores
from lidr.loop import RunResult, run
from lidr.stages import StageKind
from lidr.store import RunDirectory
from lidr.tracking.keys import HISTORY, SCORE_COLUMNS
from lidr.tracking.tables import COLUMNS
from tests.tracking.wandb_file import stored_runs

pytestmark = pytest.mark.xdist_group("loop")
TINY = [
    "experiment=lab",
    "languages.non_dominant=[es,ru]",
    "prompts.limit=16",
    "tracking=offline",
]
FEW_ANSWERS = "evaluation.lab.prompts.limit=8"
NO_ANSWERS = "evaluation=[]"


def config(outputs: Path, *more: str) -> RunConfig:
    return compose_run([*TINY, f"paths.outputs={outputs}", *more])


def test_every_promised_file_is_there(looped: RunResult) -> None:
    root = looped.run.root
    for name in (
        "config.yaml", "name.txt", "status.json", "metrics.jsonl", "results.json", "log.txt",
        "iteration-0/evaluation/lab/zh.jsonl", "iteration-1/prompts/ru.jsonl", "iteration-1/responses/en.jsonl",
        "iteration-1/translations/ru-en.jsonl", "iteration-2/pairs/pairs.jsonl", "iteration-2/pairs/audit.json",
        "iteration-2/model/model.safetensors", "iteration-2/training/metrics.jsonl", "report/report.md",
        "report/figures/lab-accuracy-by-language.png", "report/tables/lab-accuracy.tex", "report/report.html",
    ):  # fmt: skip
        assert (root / name).stat().st_size, name
    assert json.loads((root / "status.json").read_text())["status"] == "done"
    assert not list(root.rglob("*.tmp"))


def test_m_2_is_another_model_than_m_1_and_starts_from_it(looped: RunResult) -> None:
    """Each iteration's training begins at its own reference: margin 0, so DPO loss ln 2."""
    first, second = (looped.run.iteration(t) for t in (1, 2))
    assert (first / "model" / "model.safetensors").read_bytes() != (
        second / "model" / "model.safetensors"
    ).read_bytes()
    for folder in (first, second):
        record = json.loads((folder / "training" / "metrics.jsonl").read_text().splitlines()[0])
        assert record["train/dpo"] == pytest.approx(0.693147, abs=1e-5)
        assert record["train/margin"] == 0


def test_scores_are_there_for_every_model_and_language(looped: RunResult) -> None:
    found = {(s.iteration, s.language, s.metric) for s in collect_scores(looped.run.root)}
    for t in range(3):
        for language in ("en", "es", "ru", "zh", "mean non-dominant", "mean unseen"):
            for metric in ("accuracy", "off_target", "joint"):
                assert (t, language, metric) in found
        assert (t, "all", "imbalance_gap") in found
    assert {(t, "all", "reward_accuracy") for t in (1, 2)} <= found


def test_wandb_has_every_key_that_is_promised_and_no_other(looped: RunResult) -> None:
    (stored,) = stored_runs(looped.run.root)
    steps = len((looped.run.root / "metrics.jsonl").read_text().splitlines())
    assert stored.exit_code == 0
    assert stored.config["objective"]["beta"] == 0.1
    assert stored.config["languages"]["unseen"] == ["zh"]
    assert stored.steps == list(range(steps + 5))
    assert stored.column("train/step_total") == list(range(1, steps + 1))
    assert len(stored.column("eval/lab/ru/accuracy")) == 3
    assert len(stored.column("gap/lab/accuracy")) == 3
    assert "change/eval/lab/ru/joint" in stored.summary
    promised = {k.name for k in HISTORY if any(map(k.matches, stored.keys))}
    assert promised == {k.name for k in HISTORY} - {"judge/<judge>"}
    assert [key for key in stored.keys if not any(k.matches(key) for k in HISTORY)] == []
    for key in COLUMNS:
        assert stored.table(key)["columns"] == list(COLUMNS[key])
        assert stored.table(key)["data"]
    assert stored.table("scores")["columns"] == list(SCORE_COLUMNS)


def test_the_same_command_again_finds_everything_done(looped: RunResult) -> None:
    again = run(config(looped.run.root.parents[1], FEW_ANSWERS))
    assert again.skipped == again.stages == 13
    attempts = stored_runs(looped.run.root)
    steps = len((looped.run.root / "metrics.jsonl").read_text().splitlines())
    assert len({attempt.id for attempt in attempts}) == 1
    assert sorted(len(attempt.column("train/loss")) for attempt in attempts) == [0, steps]


def test_a_crash_ends_as_failed_and_names_its_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(job: work.Job) -> work.Outcome:
        raise MemoryError("no room")

    monkeypatch.setitem(work._WORK, StageKind.PROMPTS, crash)
    with pytest.raises(StageError, match=r"prompts ran out of memory \(MemoryError: no room\) -> end what"):
        run(config(tmp_path, NO_ANSWERS))
    (root,) = (p.parent for p in tmp_path.rglob("status.json"))
    status = json.loads((root / "status.json").read_text())
    assert (status["status"], status["stage"]) == ("failed", "iteration-1/prompts")
    assert "no room" in status["error"]
    assert "Traceback" in (root / "log.txt").read_text()
    (stored,) = stored_runs(root)
    assert stored.exit_code == 1


@pytest.mark.parametrize("signal", [KeyboardInterrupt(), SystemExit(-1)])
def test_what_is_stopped_is_no_failure(
    signal: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By Ctrl-C, or a scheduler that takes the place for others, as submitit puts it."""

    def stop(job: work.Job) -> work.Outcome:
        raise signal

    monkeypatch.setitem(work._WORK, StageKind.RESPONSES, stop)
    settings = config(tmp_path, NO_ANSWERS, "tracking=none")
    with pytest.raises(type(signal)):
        run(settings)
    stopped = RunDirectory.of(settings)
    assert stopped.state() == "killed"
    assert stopped.status().stage == "iteration-1/responses"
    assert (
        f"stopped ({type(signal).__name__}): the same command goes on"
        in (stopped.root / "log.txt").read_text()
    )


def test_sft_is_the_same_loop_with_another_objective(tmp_path: Path) -> None:
    done = run(config(tmp_path, "objective=sft", "iterations=1", NO_ANSWERS, "tracking=none"))
    record = json.loads((done.run.root / "metrics.jsonl").read_text().splitlines()[0])
    assert record["train/loss"] == pytest.approx(record["train/nll"])
    assert "train/margin" not in record


def test_lora_iterations_train_one_adapter_on(tmp_path: Path) -> None:
    done = run(config(tmp_path, "lora=r16", "training.lr=1e-3", NO_ANSWERS, "tracking=none"))
    lineage = json.loads((done.run.iteration(2) / "model" / "lineage.json").read_text())
    assert [parent["iteration"] for parent in lineage["parents"]] == [1]
    record = json.loads((done.run.iteration(2) / "training" / "metrics.jsonl").read_text().splitlines()[0])
    assert record["train/margin"] == 0, "the reference of iteration 2 is M_1, not the base"
