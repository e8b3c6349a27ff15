"""What stops tasks of lm-eval is one line: what is wrong, where, and what to type instead."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lidr.config import TaskMetric
from lidr.errors import ConfigError, LidrError
from lidr.evaluation import (
    harness,
    harness_tasks,
)
from lidr.preflight import preflight
from tests.evaluation import toy_tasks
from tests.evaluation.toy_runs import MODEL, configured, needs_lm_eval

pytestmark = pytest.mark.usefixtures("offline")


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
