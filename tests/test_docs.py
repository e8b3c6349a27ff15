"""Every command in the docs is one that works: it composes, and the files it names are there."""

from __future__ import annotations

import math
import re
import shlex
from pathlib import Path

import pytest
import yaml

from lidr.__main__ import parser
from lidr.compose import compose_judging, compose_run, compose_search, compose_sweep, config_folder, is_sweep
from lidr.config import identity
from lidr.errors import ConfigError

ROOT = Path(__file__).parent.parent
EXPERIMENTS = sorted(config_folder("experiments").glob("experiment/*.yaml"))
SWEEPS = sorted(config_folder("sweeps").glob("sweep/*.yaml"))
HEADERS = [*EXPERIMENTS, *SWEEPS, *sorted(config_folder("conf").glob("*/*.yaml"))]
WRONG_ON_PURPOSE = "objective.betta"


def commands() -> list[str]:
    """Every line of README and of config headers that starts with ``lidr``, without its trailing remark."""
    pages = [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "lidr" / "lab" / "README.md",
        *sorted((ROOT / "docs").glob("*.md")),
    ]
    lines = [line for page in pages for line in page.read_text(encoding="utf-8").splitlines()]
    lines += [line.lstrip("# ") for path in HEADERS for line in path.read_text(encoding="utf-8").splitlines()]
    found = [line.removeprefix("$ ") for line in lines if line.removeprefix("$ ").startswith("lidr ")]
    return sorted({re.split(r"\s{2,}", line)[0].strip() for line in found})


def words(command: str) -> list[str]:
    return shlex.split(re.sub(r"<[^>]*>", "placeholder", command))[1:]


def test_the_docs_hold_commands() -> None:
    assert len(commands()) >= 14


@pytest.mark.parametrize("command", [c for c in commands() if words(c)[0] in ("run", "check")])
def test_every_documented_run_composes(command: str) -> None:
    given = words(command)[1:]
    if "--judge" in given:
        judging = given.pop(given.index("--judge") + 1)
        assert compose_judging(shlex.split(judging)).judges
    overrides = [w for w in given if w not in ("-m", "--help", "--probe", "--json", "--judge")]
    if WRONG_ON_PURPOSE in command:
        with pytest.raises(ConfigError, match="did you mean 'beta'"):
            compose_run(overrides)
    elif is_sweep(words(command)[1:]):
        if "sweep=search" in overrides:
            pytest.importorskip("optuna", reason="needs pip install 'lidr[optuna]'", exc_type=ImportError)
            assert len(compose_search(overrides) or ()) > 1
            return
        jobs = compose_sweep(overrides)
        assert len({identity(config) for _, config in jobs}) == len(jobs) > 1
    else:
        compose_run(overrides)


@pytest.mark.parametrize("command", [c for c in commands() if words(c)[0] not in ("run", "check")])
def test_every_other_documented_command_parses(command: str) -> None:
    parser().parse_args(words(command))


@pytest.mark.parametrize("path", EXPERIMENTS + SWEEPS, ids=lambda p: p.stem)
def test_an_experiment_file_is_global_and_names_its_command(path: Path) -> None:
    """Without its first line Hydra nests the values silently."""
    first, *rest = path.read_text(encoding="utf-8").splitlines()
    assert first == "# @package _global_"
    assert any(re.match(rf"#.*lidr (run .*{path.stem}|calibrate )", line) for line in rest)


@pytest.mark.parametrize("path", SWEEPS, ids=lambda p: p.stem)
def test_a_sweep_says_how_many_jobs_it_has(path: Path) -> None:
    """The values of its keys, multiplied; commas in brackets are within a value."""
    text = path.read_text(encoding="utf-8")
    sweeper = yaml.safe_load(text)["hydra"]["sweeper"]
    params = sweeper["params"]
    jobs = sweeper.get("n_trials") or math.prod(
        len(re.findall(r",(?![^\[]*\])", str(values))) + 1 for values in params.values()
    )
    assert f"# {jobs} jobs. " in text
    assert "Cost: " in text


def test_make_targets_in_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"^make ([\w-]+)", readme, flags=re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_every_key_of_the_vocabulary_is_explained() -> None:
    """Every leaf in conf/ has a comment with its meaning on its line or the one above."""
    for path in config_folder("conf").rglob("*.yaml"):
        if path.parent.name in ("debug", "scale") or path.name == "config.yaml":
            continue
        previous = ""
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            leaf = re.match(r"\s*(\w+): *[^\s#]", line)
            if leaf and leaf[1] not in ("name",):
                assert "#" in line or previous.lstrip().startswith("#"), f"{path}:{number} {line}"
            previous = line
