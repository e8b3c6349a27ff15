"""``lidr check``: everything that can be known before anything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from lidr.config import RunConfig, to_mapping
from lidr.errors import LidrError
from lidr.execute import done
from lidr.preflight import preflight
from lidr.stages import Stage, StageKind, stages
from lidr.store import RunDirectory


def check(overrides: Sequence[str]) -> int:
    """Prints the resolved configuration and the stages that would run."""
    from lidr.compose import compose_run, compose_sweep, is_sweep

    console = Console()
    if is_sweep(overrides):
        jobs = compose_sweep([o for o in overrides if o not in ("-m", "--multirun")])
        console.print(_jobs(jobs))
        return 0
    config = compose_run(overrides)
    run = RunDirectory.of(config)
    console.print(_tree("configuration", to_mapping(config)))
    console.print(_plan(config, run))
    preflight(config)
    console.print(f"run  {run.root}", highlight=False, soft_wrap=True)
    return 0


def _tree(title: str, values: Mapping[str, Any]) -> Tree:
    tree = Tree(Text(title, style="bold"))
    for key, value in values.items():
        if isinstance(value, Mapping):
            tree.add(_tree(str(key), value))
        else:
            tree.add(Text(f"{key}: {_shown(value)}"))
    return tree


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value).replace("\n", "\\n")


def _jobs(jobs: Sequence[tuple[list[str], RunConfig]]) -> Table:
    table = Table("job", "overrides", "run", "state", box=None, header_style="bold")
    for number, (overrides, config) in enumerate(jobs):
        run = RunDirectory.of(config)
        table.add_row(
            str(number),
            " ".join(overrides),
            str(run.root),
            run.status().status if run.root.exists() else "to do",
        )
    return table


def _plan(config: RunConfig, run: RunDirectory) -> Table:
    table = Table("stage", "what", "state", box=None, header_style="bold")
    for stage in stages(config):
        table.add_row(stage.name, _what(stage, config), _state(stage, config, run))
    return table


def _what(stage: Stage, config: RunConfig) -> str:
    prompts, trained = config.prompts.limit, len(config.languages.trained)
    others = len(config.languages.non_dominant)
    if stage.kind is StageKind.PROMPTS:
        return f"{prompts} prompts x {trained} languages"
    if stage.kind is StageKind.RESPONSES:
        return f"{prompts} prompts x {trained} languages = {prompts * trained} responses"
    if stage.kind is StageKind.TRANSLATIONS:
        return (
            f"{prompts} responses x {others} languages x 2 directions = {2 * prompts * others} translations"
        )
    if stage.kind is StageKind.PAIRS:
        return f"types {', '.join(config.pairs.types)}; rejected en answer: {config.pairs.en_rejected}"
    if stage.kind is StageKind.TRAINING:
        how = f"LoRA rank {config.lora.rank}" if config.lora.enabled else "all parameters"
        models = f"M_{stage.iteration} = M_{stage.iteration - 1}"
        return f"{models} + {config.objective.name}, {how}, lr {config.training.lr:g}"
    parts = [
        f"{b.prompts.limit} {name} prompts x {len(b.codes(config.languages))} languages"
        for name, b in config.evaluation.items()
    ]
    return f"M_{stage.iteration}: " + ", ".join(parts)


def _state(stage: Stage, config: RunConfig, run: RunDirectory) -> str:
    try:
        if done(stage, config, run) is not None:
            return "done"
    except LidrError as error:
        return f"refused: {error.what}"
    stored = sum(_lines(path) for path in run.folder(stage).rglob("*.jsonl"))
    return f"begun, {stored} records" if stored else "to do"


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for _ in file)
