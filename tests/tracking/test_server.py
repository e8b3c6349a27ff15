"""W&B's own client against a server on this machine: online, resumed, synced."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lidr.__main__ import main
from lidr.config import RunConfig, TrackingMode, identity, to_yaml
from lidr.stages import Stage, StageKind
from lidr.tracking import Tracker, mirror
from tests.report.loops import tear

from .conftest import mirrored, point_to
from .small import ROWS
from .test_tracker import TRAINING, judge
from .wandb_server import ENTITY, KEY, UploadedRun, WandbServer, wandb_server

pytestmark = [pytest.mark.allow_hosts(["127.0.0.1"]), pytest.mark.usefixtures("fresh_service")]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    with wandb_server() as found:
        point_to(monkeypatch, found.url)
        yield found


def as_mode(config: RunConfig, run: Path, mode: TrackingMode) -> RunConfig:
    changed = dataclasses.replace(config, tracking=dataclasses.replace(config.tracking, mode=mode))
    (run / "config.yaml").write_text(to_yaml(changed), encoding="utf-8")
    return changed


def check_whole(uploaded: UploadedRun, config: RunConfig, rows: int = ROWS) -> None:
    assert [row["_step"] for _, row in sorted(uploaded.history.items())] == list(range(rows))
    assert uploaded.column("train/step_total") == list(range(1, 81))
    assert uploaded.config["objective"]["value"]["beta"] == 0.1
    assert uploaded.summary["change/eval/lab/es/accuracy"] is not None
    assert uploaded.summary["scores"]["_type"] == "table-file"
    assert (uploaded.group, uploaded.job_type) == (config.name, "train")


def interrupt(config: RunConfig, run: Path) -> None:
    with Tracker(config, run, identity(config)) as tracker:
        for stage in (Stage(StageKind.EVALUATION, 0), Stage(StageKind.PAIRS, 1), TRAINING):
            tracker.mirror(stage)
        raise KeyboardInterrupt


def test_an_online_run_that_is_resumed_goes_on_in_the_same_run(
    config: RunConfig, run: Path, server: WandbServer, capsys: pytest.CaptureFixture[str]
) -> None:
    online = as_mode(config, run, TrackingMode.WANDB)
    metrics = run / TRAINING.name / "metrics.jsonl"
    whole = metrics.read_bytes()
    tear(metrics, 30)
    with pytest.raises(KeyboardInterrupt):
        interrupt(online, run)
    (uploaded,) = server.runs.values()
    assert uploaded.exit_code == 1
    assert len(uploaded.history) == 32
    metrics.write_bytes(whole)
    mirrored(run, online)
    assert uploaded.exit_code == 0
    check_whole(uploaded, config)
    before = len(server.asked)
    assert main(["sync", str(run)]) == 0
    assert capsys.readouterr().out.startswith("there ")
    assert len(server.asked) == before


def test_sync_uploads_each_run_once_whatever_its_offline_files_hold(
    config: RunConfig, run: Path, server: WandbServer, capsys: pytest.CaptureFixture[str]
) -> None:
    mirrored(run, config)
    (file,) = run.glob("wandb/offline-run-*/*.wandb")
    file.write_bytes(
        file.read_bytes()[:-900]
    )  # a kill tore it; W&B's own sync uploads half of it, again and again
    assert main(["sync", str(run.parent)]) == 0
    assert f"team/lidr/runs/{identity(config)}" in capsys.readouterr().out
    (uploaded,) = server.runs.values()
    check_whole(uploaded, config)
    assert any(a.get("artifactTypeName") == "run_table" for a in server.artifacts)
    asked = len(server.asked)
    assert main(["sync", str(run.parent), str(run)]) == 0
    assert capsys.readouterr().out == f"there     {run}\n"
    assert len(server.asked) == asked
    judge(run, "oracle", 0.75)
    assert main(["sync", str(run)]) == 0
    assert uploaded.column("eval/lab-vs-initial-oracle/es/win_rate") == [0.75]
    check_whole(uploaded, config, ROWS + 2)
    assert uploaded.attempts == 2


def test_sync_says_what_it_leaves_and_what_fails(
    config: RunConfig,
    run: Path,
    server: WandbServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    as_mode(config, run, TrackingMode.NONE)
    other = run.with_name("z-broken")
    other.mkdir()
    (other / "config.yaml").write_text("seed: [")
    (other / "status.json").write_text("{}")
    assert main(["sync", str(run.parent)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"skipped   {run}: tracking=none"
    assert lines[1].startswith(f"failed    {other}: ")
    as_mode(config, run, TrackingMode.OFFLINE)
    (run / "iteration-2/pairs/audit.json").write_text("[")
    for _ in range(2):
        assert main(["sync", str(run)]) == 1
        assert capsys.readouterr().out.startswith(f"failed    {run}: iteration-2/pairs cannot be mirrored")
    monkeypatch.delenv("WANDB_API_KEY")
    assert main(["sync", str(run.parent)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"lidr sync: no W&B key for {server.url} -> export WANDB_API_KEY=<your key>")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert main(["sync", str(run.parent / "nowhere")]) == 1
    assert "no run at or below this folder" in capsys.readouterr().err


def test_sync_stops_where_the_server_refuses(
    config: RunConfig, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    second = run.with_name("second")
    second.mkdir()
    (second / "config.yaml").write_text((run / "config.yaml").read_text())
    (second / "status.json").write_text("{}")
    monkeypatch.setitem(mirror._SETTINGS, "init_timeout", 3.0)
    with wandb_server(refuses=401) as refusing:
        point_to(monkeypatch, refusing.url)
        assert main(["sync", str(run.parent)]) == 1
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith(f"failed    {run}: W&B could not start (")
    assert KEY not in first
    assert last == "1 more not tried"
    assert not list(run.glob("wandb/offline-run-*"))


def test_the_workspace_as_it_is_stored(
    config: RunConfig, run: Path, server: WandbServer, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("wandb_workspaces")
    second = run.with_name("other")
    second.mkdir()
    text = (run / "config.yaml").read_text()
    (second / "config.yaml").write_text(
        text.replace("beta: 0.1", "beta: 0.5").replace("\nseed: 0", "\nseed: 1")
    )
    (second / "status.json").write_text("{}")
    assert main(["report", str(run.parent), "--wandb"]) == 0
    assert capsys.readouterr().out.startswith(f"workspace  {server.url}/{ENTITY}/lidr?nw=")
    (view,) = server.views
    assert (view["entityName"], view["projectName"], view["displayName"]) == (
        ENTITY,
        "lidr",
        f"lidr: {config.name}",
    )
    section = json.loads(view["spec"])["section"]
    panels = {s["name"]: s["panels"] for s in section["panelBankConfig"]["sections"]}
    assert list(panels) == ["Results by language", "Training", "Audit of the pairs", "Texts and scores"]
    lines = {
        p["config"].get("chartTitle"): p["config"]
        for p in [*panels["Results by language"], *panels["Training"], *panels["Audit of the pairs"]]
    }
    by_language = lines["lab: accuracy, by language"]
    assert by_language["xAxis"] == "iteration"
    assert {"eval/lab/en/accuracy", "eval/lab/es/accuracy"} <= set(by_language["metrics"])
    assert lines["lab, es: accuracy"]["metrics"] == ["eval/lab/es/accuracy"]
    assert lines["lab: imbalance gap"]["metrics"] == ["gap/lab/accuracy"]
    assert lines["loss"]["xAxis"] == "train/step_total"
    assert lines["loss of iteration 2"]["xAxis"] == "iteration-2/step"
    assert "pairs/nl/es/kept" in lines["kept"]["metrics"]
    (runs,) = section["runSets"]
    assert [key["name"] for key in runs["grouping"]] == ["beta.value"]
    assert [(f["key"]["name"], f["op"], f["value"]) for f in runs["filters"]["filters"]] == [
        ("name", "IN", ["lab"])
    ]
    assert main(["report", str(run.parent), "--wandb", "--group", "objective.beta,seed"]) == 0
    (runs,) = json.loads(server.views[-1]["spec"])["section"]["runSets"]
    assert [key["name"] for key in runs["grouping"]] == ["objective.value.beta", "seed.value"]
    assert main(["report", str(run.parent), "--wandb", "--group", "objective.betta"]) == 2
    assert "did you mean 'objective.beta'?" in capsys.readouterr().err


def test_a_workspace_that_cannot_be_made_is_one_line(
    config: RunConfig,
    run: Path,
    server: WandbServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    second = run.with_name("second")
    second.mkdir()
    (second / "config.yaml").write_text(
        (run / "config.yaml").read_text().replace("project: lidr", "project: b")
    )
    (second / "status.json").write_text("{}")
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "wandb_workspaces", None)
        without.setitem(sys.modules, "wandb_workspaces.reports.v2", None)
        assert main(["report", str(run), "--wandb"]) == 2
    assert capsys.readouterr().err == (
        "lidr report --wandb: needs wandb-workspaces -> install with: pip install 'lidr[workspace]'\n"
    )
    pytest.importorskip("wandb_workspaces")
    assert main(["report", str(run.parent), "--wandb"]) == 2
    assert (
        "runs of several W&B projects: default/b, default/lidr -> name those of one"
        in capsys.readouterr().err
    )
    monkeypatch.delenv("WANDB_API_KEY")
    assert main(["report", str(run), "--wandb"]) == 2
    assert "lidr report --wandb: no W&B key" in capsys.readouterr().err
    assert server.views == []
