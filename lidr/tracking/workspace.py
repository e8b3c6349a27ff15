"""A saved W&B workspace for runs: results by language, training, audit, texts; grouped by what tells the runs apart."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lidr.config import RunConfig, differences, identity_values, read_config
from lidr.errors import ConfigError, LidrError, did_you_mean
from lidr.evaluation import ALL, Score, collect_scores
from lidr.evaluation.scores import IMBALANCE_GAP
from lidr.printable import short
from lidr.tracking.choosing import server
from lidr.tracking.history import AUDIT, METRICS, training_steps
from lidr.tracking.keys import (
    ITERATION,
    SCORE_TABLE,
    STEP_TOTAL,
    audit_of,
    group_values,
    score_key,
    training_values,
)
from lidr.tracking.tables import ANSWERS, BENCHMARK, PAIRS, TRANSLATIONS

# The curves that come first; every other one is in the app's own list of keys.
_CURVES = (
    *("loss", "dpo", "nll", "accuracy", "margin", "reward_chosen", "reward_rejected"),
    *("chosen_drift", "grad_norm", "lr", "tokens_per_second"),
)
_SHARES = ("kept", "on_target/chosen/rate", "on_target/rejected/rate", "mean_length_ratio")
_MAIN = ("accuracy", "win_rate", "rating")
_TABLES = (SCORE_TABLE, PAIRS, ANSWERS, TRANSLATIONS, BENCHMARK)
_MOST_RUNS = 100


@dataclass(frozen=True)
class _Found:
    """What the runs have: names of curves, keys of audits, scores; and their configurations."""

    configs: Sequence[RunConfig]
    curves: Sequence[str]
    audits: Sequence[str]
    scores: Sequence[Score]


def save_workspace(runs: Sequence[Path], group: Sequence[str] = ()) -> str:
    """Saves a workspace for some runs in their W&B project; returns its address.

    Raises:
        ConfigError: wandb-workspaces is not installed, the runs lie in several projects, or a key is none.
        LidrError: W&B does not take it.
    """
    built = build_workspace(runs, group)
    try:
        import wandb

        built.entity = built.entity or wandb.Api().default_entity
        return str(built.save().url)
    except Exception as error:
        raise LidrError(
            f"does not take the workspace ({type(error).__name__}: {short(error)})",
            where=server(),
            instead="see that the server can be reached and the key may write to the project",
        ) from error


def build_workspace(runs: Sequence[Path], group: Sequence[str] = ()) -> Any:
    """The ``wandb_workspaces.workspaces.Workspace``, not yet saved; raises `ConfigError` as `save_workspace`.

    Args:
        runs: run folders.
        group: configuration keys to group runs by; without, all that differ but the seed.
    """
    ws, _ = _packages()
    found = _read(runs)
    projects = {(c.tracking.entity, c.tracking.project) for c in found.configs}
    if len(projects) > 1:
        listed = ", ".join(sorted(f"{entity or 'default'}/{project}" for entity, project in projects))
        raise ConfigError([LidrError(f"runs of several W&B projects: {listed}", instead="name those of one")])
    ((entity, project),) = projects
    names = sorted({c.name for c in found.configs})
    return ws.Workspace(
        entity=entity or "",
        project=project,
        name=f"lidr: {', '.join(names)}",
        sections=[*_sections(found)],
        settings=ws.WorkspaceSettings(max_runs=_MOST_RUNS),
        runset_settings=ws.RunsetSettings(
            filters=f"Config('name') in {names!r}",
            groupby=[_config(key) for key in group_keys(found.configs, group)],
            pinned_columns=[
                f"config:{key}.value" for key in ("language_set", "objective_name", "beta", "lr", "seed")
            ]
            + [f"summary:change/{score_key(s)}" for s in _main(found.scores) if s.language in _means(found)],
        ),
    )


def group_keys(configs: Sequence[RunConfig], asked: Sequence[str]) -> list[str]:
    """The keys to group by: those asked for, or those whose values differ, but the seed, so that seeds are averaged.

    Raises:
        ConfigError: a key is none of the configuration's and none of the short ones.
    """
    values = [identity_values(config) for config in configs]
    known = set(values[0]) | set(group_values(configs[0]))
    wrong = [key for key in asked if key not in known]
    if wrong:
        raise ConfigError(
            LidrError(
                f"{short(key)!r} is no configuration key", where="--group", instead=did_you_mean(key, known)
            )
            for key in wrong
        )
    if asked:
        return list(asked)
    differing = {key for other in values[1:] for key in differences(values[0], other)}
    short_names = {"objective.beta": "beta", "objective.alpha": "alpha", "training.lr": "lr"}
    short_names |= {"languages.non_dominant": "language_set", "objective.name": "objective_name"}
    found = sorted({short_names.get(key, key) for key in differing - {"seed"}})
    return found or (["name"] if differing else [])


def _sections(found: _Found) -> Iterator[Any]:
    ws, wr = _packages()
    results = [*_results(found, wr)]
    yield ws.Section(name="Results by language", panels=results, is_open=True, pinned=True)
    training = [wr.LinePlot(title=name, x=STEP_TOTAL, y=[f"train/{name}"]) for name in found.curves]
    last = max((c.iterations for c in found.configs), default=0)
    training += [
        wr.LinePlot(title=f"loss of iteration {t}", x=f"iteration-{t}/step", y=[f"iteration-{t}/loss"])
        for t in range(1, last + 1)
    ]
    yield ws.Section(name="Training", panels=training, is_open=True)
    audit = [wr.LinePlot(title="pairs", x=ITERATION, y=["pairs/candidates", "pairs/kept"])]
    dropped = [key for key in found.audits if key.startswith("pairs/dropped/")]
    audit += [wr.LinePlot(title="dropped, by reason", x=ITERATION, y=dropped)] if dropped else []
    for share in _SHARES:
        cells = [
            key for key in found.audits if key.endswith(f"/{share}") and key.count("/") > share.count("/") + 1
        ]
        audit += [wr.LinePlot(title=share.replace("/", " "), x=ITERATION, y=cells)] if cells else []
    yield ws.Section(name="Audit of the pairs", panels=audit, is_open=True)
    texts = [wr.WeavePanelSummaryTable(table_name=name, layout=wr.Layout(w=24, h=12)) for name in _TABLES]
    yield ws.Section(name="Texts and scores", panels=texts)


def _results(found: _Found, wr: Any) -> Iterator[Any]:
    """For each benchmark: all languages, the gap, what changed; then a panel a language, to compare runs."""
    main = _main(found.scores)
    for benchmark in dict.fromkeys(s.benchmark for s in main):
        own = [s for s in main if s.benchmark == benchmark]
        keys = [score_key(s) for s in own if s.metric != IMBALANCE_GAP]
        metric = own[0].metric
        if keys:
            yield wr.LinePlot(title=f"{benchmark}: {metric}, by language", x=ITERATION, y=keys)
            measured = {score_key(s) for s in found.scores if s.iteration == 0}
            changed = [f"change/{key}" for key in keys if key in measured]
            if changed:
                yield wr.BarPlot(title=f"{benchmark}: {metric}, last model minus M_0", metrics=changed)
        gaps = [score_key(s) for s in own if s.metric == IMBALANCE_GAP]
        if gaps:
            yield wr.LinePlot(title=f"{benchmark}: imbalance gap", x=ITERATION, y=gaps)
        for key, score in zip(keys, (s for s in own if s.metric != IMBALANCE_GAP), strict=True):
            yield wr.LinePlot(title=f"{benchmark}, {score.language}: {metric}", x=ITERATION, y=[key])


def _main(scores: Sequence[Score]) -> list[Score]:
    """One score for each language of a benchmark: of its main metric; and its gap."""
    chosen: dict[str, Score] = {}
    for benchmark in dict.fromkeys(s.benchmark for s in scores):
        own = [s for s in scores if s.benchmark == benchmark]
        metrics = {s.metric for s in own}
        main = next((m for m in _MAIN if m in metrics), own[0].metric)
        for score in own:
            if score.metric == main or (score.metric == IMBALANCE_GAP and score.language == ALL):
                chosen.setdefault(score_key(score), score)
    return list(chosen.values())


def _means(found: _Found) -> set[str]:
    return {s.language for s in found.scores if s.language.startswith("mean ")}


def _read(runs: Sequence[Path]) -> _Found:
    configs = [read_config(run / "config.yaml") for run in runs]
    curves: set[str] = set()
    audits: dict[str, None] = {}
    scores: list[Score] = []
    for run, config in zip(runs, configs, strict=True):
        scores += collect_scores(run)
        for t in range(1, config.iterations + 1):
            for _, record in training_steps(run / f"iteration-{t}" / "training" / METRICS):
                curves |= {key.removeprefix("train/") for key in training_values(record, t, 1, 0)}
                break
            path = run / f"iteration-{t}" / "pairs" / AUDIT
            if path.exists():
                audits |= dict.fromkeys(key for key, _ in audit_of(path))
    return _Found(configs, [name for name in _CURVES if name in curves], list(audits), scores)


def _config(key: str) -> Any:
    from wandb_workspaces import expr

    return expr.Config(key)


def _packages() -> tuple[Any, Any]:
    """The interfaces of workspaces and of their panels.

    Raises:
        ConfigError: the package is not installed.
    """
    try:
        with warnings.catch_warnings():
            # It still uses validators of pydantic's first version.
            warnings.simplefilter("ignore", DeprecationWarning)
            import wandb_workspaces.reports.v2 as wr
            import wandb_workspaces.workspaces as ws
    except ImportError:
        instead = "install with: pip install 'lidr[workspace]'"
        raise ConfigError(
            [LidrError("needs wandb-workspaces", where="lidr report --wandb", instead=instead)]
        ) from None
    return ws, wr
