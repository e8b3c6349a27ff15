"""Paths that come from data never leave the run directory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lidr.compose import compose_run
from lidr.config import from_mapping, to_mapping
from lidr.errors import ConfigError, LidrError
from lidr.evaluation import outcomes
from lidr.execute import ensure
from lidr.report import build_report
from lidr.stages import Stage, StageKind
from lidr.store import RunDirectory
from tests.report.runs import make_run
from tests.synthesis.make import FakeEngine

CLIMBING = (
    "../../up",
    "/tmp/lidr-up",
    "..",
    ".",
    "a/b",
    "a\\..\\b",
    "a\0b",
    "",
    " x",
    "x\n",
    "~root",
    "x" * 200,
)
IDS = ("../../up", "/tmp/lidr-up", "..", "a/b", "a\0b", "\x1b[2J", "x\n", "CON", "~")


@pytest.mark.parametrize("name", CLIMBING)
@pytest.mark.parametrize("key", ["name", "model", "evaluation"])
def test_a_name_is_one_part_of_a_path(name: str, key: str) -> None:
    values = to_mapping(compose_run(["experiment=lab"]))
    if key == "name":
        values["name"] = name
    elif key == "model":
        values["model"]["name"] = name
    else:
        values["evaluation"] = {name: values["evaluation"]["lab"]}
    with pytest.raises(ConfigError, match="cannot name a folder"):
        from_mapping(values)


@pytest.mark.parametrize("code", ["../../up", "/tmp", "en/../..", "e\0", "EN", ""])
def test_a_language_is_one_of_a_list(code: str) -> None:
    values = to_mapping(compose_run(["experiment=lab"]))
    values["languages"]["unseen"] = [code]
    with pytest.raises(ConfigError, match="unknown language code"):
        from_mapping(values)


def below(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*")}


def test_ids_stay_in_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stages of an iteration with ids that would climb, as far as a model is not trained."""
    data, work = tmp_path / "data", tmp_path / "work"
    data.mkdir()
    work.mkdir()
    monkeypatch.chdir(work)
    for code in ("en", "es"):
        rows = [{"id": identity, "prompt": f"{code} {number}"} for number, identity in enumerate(IDS)]
        (data / f"{code}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = compose_run(
        ["prompts=jsonl", f"prompts.root={data}", "languages.non_dominant=[es]", "languages.unseen=[]",
         f"prompts.limit={len(IDS)}", "iterations=1", "evaluation=[]", "tracking=none", "paths.outputs=outputs",
         "pairs=paper", "pairs.filters.identical=false"]
    )  # fmt: skip
    run = RunDirectory.of(config)
    run.open(config)
    fake = FakeEngine(lambda request: (f"{request.user[:40]}</translated>", "stop"))
    monkeypatch.setattr("lidr.work._engine", lambda _: fake)
    monkeypatch.setattr("lidr.work._translator", lambda _: fake)
    for kind in (StageKind.PROMPTS, StageKind.RESPONSES, StageKind.TRANSLATIONS, StageKind.PAIRS):
        ensure(Stage(kind, 1), config, run)
    pairs = [
        json.loads(line)["id"]
        for line in (run.root / "iteration-1/pairs/pairs.jsonl").read_text().splitlines()
    ]
    assert set(pairs) == set(IDS)
    assert all(str(p).startswith("outputs") for p in below(work))
    assert below(tmp_path) == {Path("data"), Path("data/en.jsonl"), Path("data/es.jsonl"), Path("work")} | {
        Path("work") / p for p in below(work)
    }
    names = {part for path in below(work) for part in path.parts}
    assert names <= {"outputs", "lab", run.root.name, "config.yaml", "name.txt", "iteration-1", "prompts", "responses",
                     "translations", "pairs", "stage.json", "en.jsonl", "es.jsonl", "en-es.jsonl", "es-en.jsonl",
                     "pairs.jsonl", "audit.json"}  # fmt: skip


def test_a_report_writes_below_its_folder_whatever_a_run_says(tmp_path: Path) -> None:
    run = tmp_path / "deep" / "er" / "run"
    make_run(run, ["iterations=1"], limit=6)
    results = json.loads((run / "results.json").read_text())
    for score in results["scores"]:
        if score["benchmark"] == "lab":
            score["benchmark"] = "../../../up"
            score["metric"] = f"../../{score['metric']}"
    (run / "results.json").write_text(json.dumps(results))
    before = below(tmp_path)
    paths = build_report([run], tmp_path / "deep" / "out")
    new = below(tmp_path) - before
    assert all(path.parts[:2] == ("deep", "out") for path in new)
    assert any("up" in path.name for path in paths.tables)


def test_a_manifest_cannot_have_files_elsewhere_read(tmp_path: Path) -> None:
    """Of its paths size and hash are looked at, nothing else, and what does not fit is refused."""
    run, stage = RunDirectory(tmp_path / "run"), Stage(StageKind.PAIRS, 1)
    run.folder(stage).mkdir(parents=True)
    made = run.finish(stage, {}, {}, [], {}, 1.0)
    values = json.loads(made.model_dump_json())
    values["outputs"] = {"../../../etc/passwd": {"bytes": 1, "sha256": ""}}
    values["check"] = None  # as of a version that wrote none
    (run.folder(stage) / "stage.json").write_text(json.dumps(values))
    manifest = run.manifest(stage)
    assert manifest is not None
    with pytest.raises(LidrError, match="written by the finished stage"):
        run.check_outputs(manifest)


def test_outcomes_of_a_benchmark_stay_in_its_folder(tmp_path: Path) -> None:
    outcomes.write(tmp_path, [outcomes.Outcome("../../x", "en", {"accuracy": 1.0})])
    assert below(tmp_path) == {Path("outcomes.jsonl")}
