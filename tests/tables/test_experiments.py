"""Every experiment file, at both scales: it composes, passes what a run checks first, and is estimated."""

from __future__ import annotations

import importlib.util
import re
import shlex
from functools import cache
from pathlib import Path

import pytest

from lidr.commands import table_list
from lidr.commands.table_list import requests
from lidr.compose import compose_judging, config_folder
from lidr.config import RunConfig, identity
from lidr.errors import ConfigError, LidrError
from lidr.estimate import estimate
from lidr.preflight import preflight
from lidr.stages import StageKind, stages
from lidr.tables import Scale, headers, read_header, read_table, table_names
from lidr.tables.editions import fits
from lidr.tables.headers import Header, run_name
from tests.tables.make import official, own_prompts

pytestmark = pytest.mark.xdist_group("experiments")
FILES = sorted((config_folder("experiments") / "experiment").glob("*.yaml"))
EDITIONS = sorted((config_folder("experiments") / "edition").glob("*.yaml"))
NAMES = [path.stem for path in FILES]
OF_NO_TABLE = {"lab", "alpagasus_smollm2"}
OF_NO_RUN = {"e3_calibration"}
OF_THEIR_OWN = [name for name in NAMES if run_name(name) == name]  # the others are runs of these
JUDGED = [name for name in NAMES if read_header(name).judge]
HAS_LM_EVAL = importlib.util.find_spec("lm_eval") is not None
LEAVES_OUT_A_MODEL = {"th_bn_sw_system", "e6_translator_system"}


@cache
def jobs(name: str, scale: Scale, data: str | None) -> tuple[RunConfig, ...]:
    """The jobs of an experiment's command at a scale, composed once."""
    return tuple(table_list.jobs(name, scale, data))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The official files, and prompts of the reader's own where a command leaves them out."""
    root = tmp_path_factory.mktemp("world")
    own_prompts(root / "placeholder", ("en", "es", "ru", "de", "fr", "th", "bn", "sw"))
    for folder in (root / "placeholder", root / "models" / "SmolLM2-135M-Instruct"):
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in (("config.json", "{}"), ("model.safetensors", "")):
            (folder / file).write_text(text, encoding="utf-8")
    return official(root / "official")


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[(name, scale) for name in OF_THEIR_OWN for scale in Scale], ids=lambda p: "-".join(p))
def configs(
    request: pytest.FixtureRequest, data: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[RunConfig, ...]:
    """The jobs of an experiment's command at a scale, where its relative paths lead somewhere."""
    monkeypatch.chdir(data.parent)
    name, scale = request.param
    return jobs(name, scale, str(data))


def test_how_many_there_are() -> None:
    assert len(NAMES) == 37
    assert {path.stem.removeprefix("lab_") for path in EDITIONS} <= set(NAMES)


def test_every_file_but_the_demos_fills_a_table() -> None:
    used = {experiment for table in table_names() for experiment in read_table(table).experiments}
    assert used == set(NAMES) - OF_NO_TABLE


def test_the_header_has_every_field_and_its_commands_name_it(name: str) -> None:
    header = read_header(name)
    if name in OF_NO_RUN:
        assert not header.runs
        assert header.lab.startswith("lidr calibrate judge=[oracle")
    else:
        assert re.match(rf"lidr run (-m )?experiment={name}( |$)", header.command)
        assert re.fullmatch(rf"lidr run (-m )?experiment={name} scale=lab", header.lab)
    assert bool(header.judge) == bool(header.lab_judge)
    assert re.search(r"GPU|CPU", header.hardware)
    assert re.search(r"lab:? .*\d+ (s|min)", header.time)
    assert re.search(r"\d", header.expected)
    assert re.search(r"\d|as for", header.tolerance)


def test_the_files_scale_is_the_papers_and_the_labs_is_the_labs(name: str, data: Path) -> None:
    for config in jobs(name, Scale.LAB, None):
        assert config.name == run_name(name)
        assert config.model.path == "builtin:lab"
        assert list(config.evaluation) == ["lab"]
        assert not config.lora.enabled
        assert config.trainer.accelerator == "cpu"
    if name != "lab":
        assert all(config.model.path != "builtin:lab" for config in jobs(name, Scale.PAPER, str(data)))


def test_a_command_passes_what_a_run_checks_first(configs: tuple[RunConfig, ...]) -> None:
    for config in configs:
        if config.lm_eval_benchmarks and not HAS_LM_EVAL:
            with pytest.raises(ConfigError, match="lm_eval"):
                preflight(config)
        else:
            preflight(config)
    assert len({identity(config) for config in configs}) == len(configs)


def test_a_command_is_estimated(configs: tuple[RunConfig, ...], tmp_path: Path) -> None:
    found = estimate(configs[0])
    plan = stages(configs[0])
    assert [each.stage for each in found.stages] == plan
    assert found.total.requests.high == requests(configs[0]) + later_turns(configs[0])
    assert found.total.answer_tokens.expected > 0
    assert sum(stage.kind is StageKind.TRAINING for stage in plan) == configs[0].iterations


def test_the_header_counts_the_requests(name: str, data: Path) -> None:
    counted = re.search(r"([\d,]+) requests", read_header(name).time)
    if counted is None:
        assert name in OF_NO_TABLE | OF_NO_RUN
        return
    configs = jobs(name, Scale.PAPER, str(data))
    assert int(counted[1].replace(",", "")) == sum(requests(c) + later_turns(c) for c in configs)


def later_turns(config: RunConfig) -> int:
    """MT-Bench's second ones."""
    benchmark = config.asked_benchmarks.get("mt_bench")
    return 0 if benchmark is None else (config.iterations + 1) * 80 * len(benchmark.codes(config.languages))


def filled(command: str) -> str:
    return re.sub(r"<[^>]*>", "placeholder", command.replace("<url>", "http://127.0.0.1:8000/v1"))


@pytest.mark.parametrize("name", JUDGED)
def test_a_judges_command_is_of_the_experiments_run(name: str) -> None:
    header = read_header(name)
    for command in (header.judge, header.lab_judge):
        assert shlex.split(command)[:3] == ["lidr", "judge", f"outputs/{run_name(name)}"]
    assert compose_judging(shlex.split(header.lab_judge)[3:]).judges


@pytest.mark.parametrize("name", JUDGED)
def test_judging_is_estimated_at_the_papers_scale(
    name: str, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(data.parent)
    overrides = shlex.split(filled(read_header(name).judge))[3:]
    judging = compose_judging(overrides)
    found = estimate(jobs(name, Scale.PAPER, str(data))[0], judging=judging).judges
    assert list(found) == list(judging.judges)
    for judge, need in found.items():
        assert need.requests.expected > 100
        assert need.cost is None or judging.judges[judge].engine.kind != "openai", "no price is known"


def test_an_experiment_without_a_name_is_its_bases_run(data: Path) -> None:
    """Found finished where that is; in the lab too, where one has an edition of its own."""
    own = sorted(set(NAMES) - set(OF_THEIR_OWN) - OF_NO_RUN)
    bases = {name: identity(jobs(name, Scale.PAPER, str(data))[0]) for name in set(map(run_name, own))}
    for name in own:
        assert identity(jobs(name, Scale.PAPER, str(data))[0]) == bases[run_name(name)]
    (scores,), (pairs,) = (jobs(name, Scale.LAB, None) for name in ("scores_0_10", "reward_accuracy"))
    assert identity(scores) == identity(pairs)


def test_what_a_command_leaves_to_the_reader_is_said(name: str) -> None:
    left = set(re.findall(r"([\w.]+)=<", read_header(name).command))
    assert ("translator.model.path" in left) == (name in LEAVES_OUT_A_MODEL)
    assert "paths.data" in left or name in OF_NO_TABLE | OF_NO_RUN


def test_a_grid_has_a_row_for_each_of_its_jobs_at_both_scales(data: Path) -> None:
    for table in table_names():
        spec = read_table(table)
        for scale in Scale:
            for experiment in spec.experiments:
                rows = [row for row in spec.rows if row.experiment == experiment]
                wheres = [
                    row.lab_where if scale is Scale.LAB and row.lab_where else row.where for row in rows
                ]
                if not any(wheres):
                    continue
                configs = jobs(experiment, scale, str(data))
                for config in configs:
                    assert any(fits(config, where) for where in wheres), (table, scale)
                for where in wheres:
                    assert sum(fits(config, where) for config in configs) == 1, (table, scale, where)


def test_a_header_without_a_field_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "short.yaml").write_text("# @package _global_\n# Table:    none\nname: x\n")
    monkeypatch.setattr(headers, "config_folder", lambda _: tmp_path)
    with pytest.raises(LidrError, match="lacks Command, Lab, Hardware, Time, Expected, Tolerance"):
        read_header("short")
    with pytest.raises(LidrError, match="no such experiment"):
        read_header("nothing")


def test_a_field_goes_on_in_indented_lines() -> None:
    header = read_header("mgsm")
    assert isinstance(header, Header)
    assert header.expected.startswith("Mean accuracy of the 10 languages 41.7 % (M_0)")
    assert "\n" not in header.expected
