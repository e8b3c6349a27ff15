"""``lidr check``: everything that can be known before anything runs."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from lidr.commands import estimates
from lidr.config import RunConfig, TranslatorKind, to_mapping
from lidr.config.judge_schema import JudgingConfig
from lidr.console import console
from lidr.errors import ConfigError, LidrError, did_you_mean
from lidr.estimate import Estimate, estimate
from lidr.preflight import preflight
from lidr.printable import inert
from lidr.stages import Stage, StageKind
from lidr.synthesis.read import routes_for

_WIDTH = 130  # where the output is no terminal
_SWEEP = ("-m", "--multirun")
_PROBE, _JSON, _JUDGE, _HELP = "--probe", "--json", "--judge", ("-h", "--help")
HELP = """\
usage: lidr check [overrides] [-m] [--probe] [--judge '...'] [--json]

Validates a configuration and shows what would run and what that takes; nothing is started.

  overrides        group=option and key=value, as for `lidr run`
  -m, --multirun   several values a key: every job, and their sum
  --probe          load the model and measure: a few real prompts, and a step's pairs; gives times
  --judge '...'    what lidr judge would ask afterwards: its overrides, such as 'judge=[oracle] tasks=[pairs]'
  --json           the same as JSON
  -h, --help       this text; `lidr run --help` lists every group and key

Exit code: 0, or 2 where the configuration is wrong.
"""


@dataclass(frozen=True)
class _Arguments:
    overrides: tuple[str, ...]
    sweep: bool
    probe: bool
    json: bool
    judging: JudgingConfig | None = None


def check(words: Sequence[str]) -> int:
    """Prints the resolved configuration, the stages that would run, and what they need."""
    if any(word in _HELP for word in words):
        sys.stdout.write(HELP)
        return 0
    arguments = _parse(words)
    shown = _sweep(arguments) if arguments.sweep else _single(arguments)
    if arguments.json:
        sys.stdout.write(json.dumps(shown, ensure_ascii=False, indent=2) + "\n")
    return 0


def _parse(words: Sequence[str]) -> _Arguments:
    from lidr.compose import is_sweep

    words, judging = _judging(words)
    flags = [word for word in words if word.startswith("-")]
    known = (*_SWEEP, _PROBE, _JSON, _JUDGE)
    unknown = [flag for flag in flags if flag not in known]
    if unknown:
        longer = [flag for flag in (*known, *_HELP) if flag.startswith("--")]
        raise ConfigError(
            LidrError("unknown option", where=flag, instead=did_you_mean(flag, longer)) for flag in unknown
        )
    overrides = tuple(word for word in words if word not in flags)
    return _Arguments(overrides, is_sweep(words), _PROBE in flags, _JSON in flags, judging)


def _judging(words: Sequence[str]) -> tuple[list[str], JudgingConfig | None]:
    """The words without --judge, and what stands behind it."""
    from lidr.compose import compose_judging

    rest, said = [], []
    given = iter(words)
    for word in given:
        if word == _JUDGE:
            said.append(next(given, ""))
        elif word.startswith(f"{_JUDGE}="):
            said.append(word.removeprefix(f"{_JUDGE}="))
        else:
            rest.append(word)
    if not said:
        return rest, None
    try:
        overrides = [word for text in said for word in shlex.split(text)]
    except ValueError as error:
        instead = f"{_JUDGE} 'judge=[oracle] opponents=[initial]'"
        raise LidrError(f"cannot be read ({error})", where=_JUDGE, instead=instead) from None
    return rest, compose_judging(overrides)


def _single(arguments: _Arguments) -> Mapping[str, Any]:
    from lidr.compose import compose_run

    config = compose_run(arguments.overrides)
    terminal = _console()
    if not arguments.json:
        terminal.print(_tree("configuration", to_mapping(config)))
    preflight(config)
    found = estimate(config, _prober(arguments), arguments.judging)
    if not arguments.json:
        terminal.print(_plan(config, found), "", estimates.table(found))
        for line in estimates.remarks(found):
            terminal.print(line, highlight=False, soft_wrap=True)
        _show_judges([found], terminal)
        terminal.print(f"run  {found.run.root}", highlight=False, soft_wrap=True)
    return {"configuration": to_mapping(config), **estimates.to_json(found)}


def _sweep(arguments: _Arguments) -> Mapping[str, Any]:
    """Every job's preflight comes before the first estimate, as in a run."""
    from lidr.compose import compose_sweep

    jobs = compose_sweep(arguments.overrides)
    for _, config in jobs:
        preflight(config)
    prober = _prober(arguments)
    found = [(overrides, estimate(config, prober, arguments.judging)) for overrides, config in jobs]
    if not arguments.json:
        terminal = _console()
        terminal.print(estimates.jobs_table(found))
        for line in estimates.jobs_remarks([each for _, each in found]):
            terminal.print(line, highlight=False, soft_wrap=True)
        _show_judges([each for _, each in found], terminal)
    return estimates.jobs_to_json(found)


def _show_judges(found: Sequence[Estimate], terminal: Console) -> None:
    if any(each.judges for each in found):
        terminal.print("", estimates.judges_table(found))
        terminal.print(estimates.JUDGES_REMARK, highlight=False, soft_wrap=True)


def _prober(arguments: _Arguments) -> Any:
    if not arguments.probe:
        return None
    from lidr.estimate.measure import Prober

    return Prober()


def _console() -> Console:
    made = console()
    return made if made.is_terminal else console(width=max(made.width, _WIDTH))


def _tree(title: str, values: Mapping[str, Any]) -> Tree:
    tree = Tree(Text(inert(title), style="bold"))
    for key, value in values.items():
        if isinstance(value, Mapping):
            tree.add(_tree(str(key), value))
        else:
            tree.add(Text(inert(f"{key}: {_shown(value)}")))
    return tree


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value).replace("\n", "\\n")


def _plan(config: RunConfig, found: Estimate) -> Table:
    table = Table("stage", "what", "state", box=None, header_style="bold")
    for each in found.stages:
        table.add_row(each.stage.name, _what(each.stage, config), str(each.state))
    return table


def _what(stage: Stage, config: RunConfig) -> str:
    prompts, trained = config.prompts.limit, len(config.languages.trained)
    others = len(config.languages.non_dominant)
    if stage.kind is StageKind.PROMPTS:
        return f"{prompts} prompts x {trained} languages"
    if stage.kind is StageKind.RESPONSES:
        return f"{prompts} prompts x {trained} languages = {prompts * trained} responses"
    if stage.kind is StageKind.TRANSLATIONS:
        by = (
            ""
            if config.translator.kind is TranslatorKind.SELF
            else f" (translator: {config.translator.name})"
        )
        ways = len(routes_for(config.languages, config.pairs))
        back = " and back" if ways > 2 * others else ""
        return f"{prompts} responses x {others} languages x 2 directions{back} = {ways * prompts} translations{by}"
    if config.pairs.rival is not None and stage.kind in (StageKind.SAMPLES, StageKind.SCORES):
        is_drawn = stage.kind is StageKind.SAMPLES
        count = config.pairs.rival.samples + (0 if is_drawn else 1)
        what = "samples" if is_drawn else f"scores (translator: {config.translator.name})"
        return f"{prompts} prompts x {others} languages x {count} = {prompts * others * count} {what}"
    if stage.kind is StageKind.PAIRS:
        return config.pairs.describe() if config.pairs.rival else f"types {config.pairs.describe()}"
    if stage.kind is StageKind.TRAINING:
        how = f"LoRA rank {config.lora.rank}" if config.lora.enabled else "all parameters"
        models = f"M_{stage.iteration} = M_{stage.iteration - 1}"
        return f"{models} + {config.objective.name}, {how}, lr {config.training.lr:g}"
    parts = [
        f"{b.prompts.limit} {name} prompts x {len(b.codes(config.languages))} languages"
        for name, b in config.asked_benchmarks.items()
    ]
    parts += [
        f"{name} ({', '.join(dict.fromkeys(m.task for m in b.metrics.values()))} of lm-eval)"
        f" x {len(b.codes(config.languages))} languages"
        for name, b in config.lm_eval_benchmarks.items()
    ]
    return f"M_{stage.iteration}: " + ", ".join(parts)
