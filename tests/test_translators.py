"""Who translates: the model itself, another one, or nobody; on the lab."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from lidr import jsonl, work
from lidr.compose import compose_run
from lidr.config import RunConfig
from lidr.engines import load
from lidr.errors import ConfigError, StageError
from lidr.execute import done, ensure
from lidr.hashing import fingerprint
from lidr.paths import resolve_model
from lidr.preflight import preflight
from lidr.stages import Stage, StageKind
from lidr.store import RunDirectory

pytestmark = pytest.mark.xdist_group("shards")
TRANSLATIONS = Stage(StageKind.TRANSLATIONS, 1)
BEFORE = [Stage(StageKind.PROMPTS, 1), Stage(StageKind.RESPONSES, 1)]
ANOTHER = ["translator=engine", "translator.model.path=builtin:lab"]
NOBODY = ["translator=none", "pairs.filters.off_target_chosen=false"]


def compose(outputs: Path, *more: str) -> RunConfig:
    return compose_run(
        ["experiment=lab", "debug=quick", "languages.non_dominant=[es,de]", "languages.unseen=[]", "evaluation=[]",
         "tracking=none", f"paths.outputs={outputs}", *more]
    )  # fmt: skip


def opened(config: RunConfig) -> RunDirectory:
    directory = RunDirectory.of(config)
    directory.open(config)
    return directory


@pytest.fixture(scope="module")
def translated(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """By the model itself."""
    config = compose(tmp_path_factory.mktemp("self"))
    directory = opened(config)
    for stage in [*BEFORE, TRANSLATIONS]:
        ensure(stage, config, directory)
    return directory


def answered(translated: RunDirectory, config: RunConfig) -> RunDirectory:
    """The same responses in a run of another translator."""
    directory = opened(config)
    for stage in BEFORE:
        shutil.copytree(translated.folder(stage), directory.folder(stage))
    return directory


def files(run: RunDirectory) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in run.folder(TRANSLATIONS).glob("*.jsonl")}


def test_the_same_model_by_another_name_translates_the_same(translated: RunDirectory, tmp_path: Path) -> None:
    config = compose(tmp_path, *ANOTHER)
    directory = answered(translated, config)
    inputs = ensure(TRANSLATIONS, config, directory).inputs
    assert files(directory) == files(translated)
    assert inputs.keys() == {"iteration-1/prompts", "iteration-1/responses", "translator"}
    assert inputs["translator"] == fingerprint(Path(resolve_model("builtin:lab")))
    assert directory.root.name != translated.root.name
    own = translated.manifest(TRANSLATIONS)
    assert own is not None
    assert own.inputs.keys() == {"iteration-1/prompts", "iteration-1/responses", "M_0"}


def test_another_content_of_the_translators_folder_is_refused(
    translated: RunDirectory, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(resolve_model("builtin:lab"), model)
    config = compose(tmp_path, "translator=engine", f"translator.model.path={model}")
    directory = answered(translated, config)
    ensure(TRANSLATIONS, config, directory)
    (model / "generation_config.json").write_text("{}")
    with pytest.raises(StageError, match=r"finished with other values \(translator is"):
        done(TRANSLATIONS, config, directory)


def test_nobody_translates_and_no_model_is_loaded(
    translated: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("no model is needed")

    monkeypatch.setattr(load, "load_translator", refuse)
    config = compose(tmp_path, *NOBODY, "engine.processes=2")
    directory = answered(translated, config)
    inputs = ensure(TRANSLATIONS, config, directory).inputs
    assert inputs.keys() == {"iteration-1/prompts", "iteration-1/responses"}
    records = [r for path in directory.folder(TRANSLATIONS).glob("*.jsonl") for r in jsonl.read(path)]
    assert len(records) == 4 * 8
    assert all(r["translation"] == r["source"] for r in records if r["error"] is None)
    assert {r["error"] for r in records} <= {None, "truncated source"}


def test_the_translators_engine_has_its_own_number_of_processes(
    translated: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared: list[int] = []
    monkeypatch.setattr(work, "share_out", lambda _, __, engine, ___: shared.append(engine.processes))
    config = compose(
        tmp_path, *ANOTHER, "+engine@translator.engine=transformers", "translator.engine.processes=3"
    )
    ensure(TRANSLATIONS, config, answered(translated, config))
    assert (config.engine.processes, shared) == (1, [3])


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("translator.model.pth=x", "unknown key -> did you mean 'path'?"),
        ("translator.model.precision=fp31", "\"fp31\" is not a choice -> did you mean 'fp32'?"),
    ],
)
def test_a_mistake_in_a_section_that_may_be_null_is_a_line(tmp_path: Path, override: str, line: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(line)):
        compose(tmp_path, *ANOTHER, override)


def test_a_missing_folder_of_the_translators_model_is_named(tmp_path: Path) -> None:
    config = compose(tmp_path, "translator=engine", "translator.model.path=models/nowhere")
    with pytest.raises(ConfigError, match=r"translator.model.path: there is no folder 'models/nowhere'"):
        preflight(config)
