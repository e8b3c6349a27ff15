"""Composition: every file of the vocabulary works, every mistake is named before anything starts."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from lidr.compose import compose_run, compose_sweep, config_folder
from lidr.config import (
    ObjectiveName,
    differences,
    from_mapping,
    identity,
    identity_values,
    read_config,
    to_mapping,
    to_yaml,
)
from lidr.errors import ConfigError
from lidr.tables.headers import run_name

EXPERIMENTS = sorted(p.stem for p in (config_folder("experiments") / "experiment").glob("*.yaml"))
SWEEPS = sorted(p.stem for p in (config_folder("sweeps") / "sweep").glob("*.yaml"))
GROUPS = sorted(
    f"{p.parent.name}={p.stem}"
    for p in config_folder("conf").glob("*/*.yaml")
    if p.parent.name not in ("evaluation", "judge", "setting", "wording")
)
SCALES = sorted(p.stem for p in (config_folder("conf") / "scale").glob("*.yaml"))
ROOT = "prompts.root=/data"
ALSO_TYPED = {
    "engine=openai": ["engine.endpoint.model='m{iteration}'"],
    "translator=engine": ["translator.model.path=builtin:lab"],
    "translator=none": ["pairs.filters.off_target_chosen=false"],
}


def left_out(name: str) -> list[str]:
    """What an experiment leaves to the reader, beside its data."""
    return ["translator.model.path=system"] if name.endswith("_system") else []


def problems(*overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as error:
        compose_run(overrides)
    return str(error.value).splitlines()


def test_the_counts_of_the_vocabulary() -> None:
    assert len(EXPERIMENTS) == 37
    assert len(SWEEPS) == 14
    assert len(GROUPS) >= 29


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_composes(name: str) -> None:
    config = compose_run([f"experiment={name}", ROOT, "paths.data=/data", *left_out(name)])
    assert config.name == run_name(name)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_composes_at_both_scales(name: str) -> None:
    for scale in SCALES:
        data = [] if scale == "lab" else [ROOT, "paths.data=/data", *left_out(name)]
        assert compose_run([f"experiment={name}", f"scale={scale}", *data]).name == run_name(name)


@pytest.mark.parametrize("choice", GROUPS)
def test_every_option_of_every_group_composes(choice: str) -> None:
    compose_run([choice, "paths.data=/data", ROOT, *ALSO_TYPED.get(choice, [])])


@pytest.mark.parametrize("choice", ALSO_TYPED)
def test_an_option_that_needs_more_says_what_to_type(choice: str) -> None:
    (problem,) = problems(choice)
    assert "-> type " in problem


@pytest.mark.parametrize("chosen", ["[lab]", "[fidelity]", "[lab,fidelity]", "[]"])
def test_evaluation_is_a_list(chosen: str) -> None:
    config = compose_run([f"evaluation={chosen}", "paths.data=/data"])
    assert sorted(config.evaluation) == sorted(filter(None, chosen.strip("[]").split(",")))


def test_an_experiment_at_lab_scale_keeps_its_method() -> None:
    config = compose_run(["experiment=alpagasus_llama3_8b", "scale=lab"])
    assert (config.model.name, config.prompts.name, config.lora.rank) == ("lab", "lab", 0)
    assert (config.prompts.limit, config.training.lr, config.engine.sampling.max_new_tokens) == (
        200,
        1e-4,
        64,
    )
    assert config.name == "alpagasus_llama3_8b"


@pytest.mark.parametrize(
    ("override", "what", "instead"),
    [
        ("objective.betta=0.2", "unknown key", "'beta'"),
        ("+objective.betta=0.2", "unknown key", "'beta'"),
        ("++trainig.lr=1", "unknown key", "'training.lr'"),
        ("trainig.lr=1", "unknown key", "'training.lr'"),
        ("experimnt=lab", "unknown key", "'experiment'"),
        ("+loss=dpo", "unknown key", ""),
        ("objective=dop", "'dop' is no choice of objective", "'dpo'"),
        ("experiment=lba", "'lba' is no choice of experiment", "'lab'"),
        ("evaluation=[lab,fidelty]", "'fidelty' is no choice of evaluation", "'fidelity'"),
        ("objective.beta=high", '"high" has the wrong type', "a number"),
        ("iterations=true", "true has the wrong type", "a whole number"),
        ("iterations=2.5", "2.5 has the wrong type", "a whole number"),
        ("reference=previus", '"previus" is not a choice', "'previous'"),
        ("languages.non_dominant=[es,xx]", "unknown language code 'xx'", ""),
        ("languages.non_dominant=[es,en]", "'en' is named more than once", "once"),
        ("languages.non_dominant=es", '"es" has the wrong type', "a list"),
        ("objective.beta=-1", "-1.0 is out of range", "greater than 0"),
        ("objective.beta_end=0", "0.0 is out of range", "greater than 0, or null"),
        ("objective.label_smoothing=0.5", "0.5 is out of range", "below 0.5"),
        ("objective.divergence=alpha", "0.0 is out of range", "above 0 and below 1"),
        ("objective.divergence=jsd", '"jsd" is not a choice', "'js'"),
        ("training.token_budget=0", "0 is out of range", "greater than 0"),
        ("training.layout=sharde", '"sharde" is not a choice', "'shared'"),
        ("training.logits=kep", '"kep" is not a choice', "'kept'"),
        ("training.checkpointing=allways", '"allways" is not a choice', "'always'"),
        ("training.micro_batch=4", "unknown key", ""),
        ("trainer.devices=0", "0 is out of range", "greater than 0"),
        ("trainer.nodes=0", "0 is out of range", "greater than 0"),
        ("trainer.devices=2", "none trains on one device", "trainer=ddp"),
        ("trainer.nodes=2", "none trains on one device", "trainer.nodes=1"),
        ("trainer.strategy=dpp", '"dpp" is not a choice', "'ddp'"),
        ("pairs.types=[]", "is empty", "pairs.types=[nl,en]"),
        ("translator.template=translate", "lacks {source}", "{source}"),
        ("prompts=jsonl", "has no value", "prompts.root="),
        ("objective.beta", "cannot be read", "key=value"),
        (
            "engine.endpoint.model=M{iteration}",
            "cannot be read",
            """in quotes: 'engine.endpoint.model="M{iteration}"'""",
        ),
        ("engine.endpoint.timeout=3", "no section engine.endpoint of its own", "type engine=openai too"),
        ("objective.beta=0.1,0.5", "several values", "-m"),
    ],
)
def test_a_mistake_is_a_line_with_place_and_remedy(override: str, what: str, instead: str) -> None:
    lines = problems(override)
    assert any(what in line and instead in line.partition("->")[2] for line in lines), lines


def test_a_section_that_stands_for_another_is_to_be_chosen_first() -> None:
    chosen = ["translator=engine", "translator.model.path=builtin:lab", "translator.engine.batch_size=3"]
    (line,) = problems(*chosen)
    assert line.endswith("type +engine@translator.engine=transformers too")
    config = compose_run([*chosen, "+engine@translator.engine=transformers"])
    assert config.translator.engine is not None
    assert config.translator.engine.batch_size == 3


@pytest.mark.parametrize(
    ("objective", "value", "instead"),
    [
        ("ipo", "label_smoothing=0.1", "type objective.label_smoothing=0, or objective=dpo or simpo"),
        ("sft", "label_smoothing=0.1", "type objective.label_smoothing=0, or objective=dpo or simpo"),
        ("dpo", "target_margin=1", "type objective.target_margin=0, or objective=simpo"),
        ("simpo", "divergence=js", "type objective.divergence=reverse_kl, or objective=dpo"),
        ("sft", "beta_end=0.5", "type objective.beta_end=null, or objective=dpo or ipo or simpo"),
        ("dpo", "divergence_alpha=0.5", "type objective.divergence=alpha, or objective.divergence_alpha=0"),
    ],
)
def test_a_value_the_objective_would_pass_over_is_a_mistake(objective: str, value: str, instead: str) -> None:
    (line,) = problems(f"objective={objective}", f"objective.{value}")
    assert "has no effect on objective" in line
    assert line.endswith(instead)


def test_every_objective_is_one_of_the_group() -> None:
    options = {p.stem for p in (config_folder("conf") / "objective").glob("*.yaml")}
    assert options == {name.value for name in ObjectiveName}
    assert all(compose_run([f"objective={name}"]).objective.name == name for name in options)


def test_all_mistakes_are_shown_at_once() -> None:
    assert len(problems("objective.betta=1", "modle=lab", "experiment=lba")) == 3
    assert len(problems("objective.beta=x", "seed=y", "reference=z")) == 3
    assert len(problems("objective.beta=-1", "seed=-1", "pairs.types=[]")) == 3


def test_a_sweep_with_one_bad_job_starts_nothing() -> None:
    with pytest.raises(ConfigError, match="out of range"):
        compose_sweep(["objective.beta=0.1,-0.5"])


@pytest.mark.parametrize(
    ("override", "instead"),
    [
        ("objective.beta=interval(0.1,0.5)", "hydra/sweeper=optuna"),
        ("training.lr=tag(log,interval(1e-5,1e-4))", "type the values"),
        ("hydra/launcher=submitit_local", "pip install 'lidr[submitit]'"),
        ("hydra/sweeper=optuna", "pip install 'lidr[optuna]'"),
    ],
)
def test_what_a_grid_cannot_do_says_what_to_type(override: str, instead: str) -> None:
    extra = instead.partition("[")[2].partition("]")[0]
    if extra and find_spec(f"hydra_plugins.hydra_{extra}_{override.partition('=')[0].partition('/')[2]}"):
        pytest.skip(f"lidr[{extra}] is installed")
    with pytest.raises(ConfigError) as error:
        compose_sweep(["seed=1,2", override])
    assert instead in str(error.value)


def test_a_typed_value_replaces_the_sweeps_own() -> None:
    jobs = compose_sweep(["sweep=beta", "objective.beta=0.2,0.3", "seed=1,2"])
    assert sorted((c.objective.beta, c.seed) for _, c in jobs) == [(0.2, 1), (0.2, 2), (0.3, 1), (0.3, 2)]


@pytest.mark.parametrize(
    ("override", "what", "instead"),
    [
        ("processes=inline", "inline is one process", "processes=separate"),
        ("training.global_batch=1", "1 pairs cannot be shared", "training.global_batch=2"),
    ],
)
@pytest.mark.parametrize("trainer", ["ddp", "fsdp"])
def test_what_several_devices_rule_out(trainer: str, override: str, what: str, instead: str) -> None:
    (line,) = problems(f"trainer={trainer}", override)
    assert what in line
    assert instead in line.partition("->")[2]
    compose_run([f"trainer={trainer}", "trainer.devices=1", override])


@pytest.mark.parametrize(
    ("overrides", "where", "instead"),
    [
        (["engine.prompt_lookup=-1"], "engine.prompt_lookup: -1", "0 or greater"),
        (["engine.prompt_lookup=64"], "engine.prompt_lookup: 64", "at most 63"),
        (
            ["engine=openai", "engine.endpoint.model='m{iteration}'", "engine.prompt_lookup=4"],
            "engine.prompt_lookup: 4 tokens at a time",
            "type engine.prompt_lookup=0",
        ),
    ],
)
def test_what_prompt_lookup_cannot_be(overrides: list[str], where: str, instead: str) -> None:
    (line,) = problems(*overrides)
    assert where in line
    assert instead in line


def test_identity_leaves_out_where_and_how() -> None:
    base = identity(compose_run([]))
    assert identity(compose_run(["engine.prompt_lookup=0"])) == base
    for override in ("paths.outputs=/elsewhere", "trainer.threads=7", "tracking=none", "processes=inline"):
        assert identity(compose_run([override])) == base
    for override in ("trainer.strategy=ddp", "trainer.accelerator=cuda"):
        assert identity(compose_run([override])) == base
    for override in ("seed=1", "objective.beta=0.2", "trainer.precision=bf16", "languages.unseen=[]"):
        assert identity(compose_run([override])) != base


def test_a_stored_configuration_names_the_same_run(tmp_path: Path) -> None:
    config = compose_run(["experiment=lab"])
    (tmp_path / "config.yaml").write_text(to_yaml(config), encoding="utf-8")
    assert read_config(tmp_path / "config.yaml") == config
    assert from_mapping(to_mapping(config)) == config


def test_differences_name_the_keys() -> None:
    ours, theirs = compose_run(["seed=1"]), compose_run([])
    assert differences(identity_values(ours), identity_values(theirs)) == {"seed": (1, 0)}


def test_a_conf_folder_where_the_user_stands_adds_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "conf" / "languages").mkdir(parents=True)
    (tmp_path / "conf" / "local").mkdir()
    mine = "dominant: en\nnon_dominant: [pt]\nunseen: []\n"
    (tmp_path / "conf" / "languages" / "mine.yaml").write_text(mine)
    (tmp_path / "conf" / "local" / "default.yaml").write_text(
        "# @package _global_\npaths: {outputs: /mine}\n"
    )
    monkeypatch.chdir(tmp_path)
    config = compose_run(["languages=mine"])
    assert config.languages.non_dominant == ("pt",)
    assert config.paths.outputs == "/mine"
