"""A sweep's results: which values were swept, and what each of their settings came to, over its seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from lidr.config import LanguagesConfig, identity_values
from lidr.config.labels import plain, short_key
from lidr.evaluation import MEAN_NON_DOMINANT, MEAN_UNSEEN
from lidr.evaluation.seeds import SeedEstimate, over_seeds, table
from lidr.evaluation.statistics import RATE, RATE_DIFFERENCE, Array
from lidr.report.frame import last_iteration
from lidr.report.runs import Run
from lidr.report.seeds import ByProblem, by_language, language_rows, weighted

HEADLINES = ("accuracy", "on_target")
MOST_AXES = 4
_NOT_SWEPT = ("seed",)


@dataclass(frozen=True)
class Axis:
    """Keys whose values change together.

    name: for headings. values: what a setting is labelled with, in order.
    """

    keys: tuple[str, ...]
    name: str
    values: tuple[str, ...]

    def label(self, config: Mapping[str, Any]) -> str:
        """Of one configuration's identity values."""
        return ", ".join(plain(config.get(key)) for key in self.keys)


@dataclass(frozen=True)
class Setting:
    """One point of the sweep. labels: a value for each axis. runs: one a seed."""

    labels: tuple[str, ...]
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class Sweep:
    """Runs that differ in a few values beside their seeds."""

    axes: tuple[Axis, ...]
    settings: tuple[Setting, ...]

    def label(self, setting: Setting) -> str:
        """A setting in words, with its keys."""
        return self.words(dict(enumerate(setting.labels)))

    def words(self, labels: Mapping[int, str]) -> str:
        """Values in words, with their keys: one for each axis that is named by its place."""
        named = ((self.axes[place], value) for place, value in labels.items())
        return ", ".join(value if len(axis.keys) > 1 else f"{axis.name}={value}" for axis, value in named)

    @cached_property
    def results(self) -> tuple[Results, ...]:
        """Of every benchmark that all runs have."""
        return tuple(_results(self))


def find_sweep(runs: Sequence[Run]) -> Sweep | None:
    """What was swept; None where no value differs, or so many do that these are runs of other kinds."""
    configs = [identity_values(run.config) for run in runs]
    if len({config["name"] for config in configs}) != 1:
        return None
    axes = _axes(configs)
    if not 0 < len(axes) <= MOST_AXES:
        return None
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run, config in zip(runs, configs, strict=True):
        groups.setdefault(tuple(axis.label(config) for axis in axes), []).append(run)
    places = [{value: place for place, value in enumerate(axis.values)} for axis in axes]
    ordered = sorted(groups, key=lambda labels: [p[v] for p, v in zip(places, labels, strict=True)])
    by_seed = {labels: sorted(own, key=lambda run: run.config.seed) for labels, own in groups.items()}
    return Sweep(tuple(axes), tuple(Setting(labels, tuple(by_seed[labels])) for labels in ordered))


def _axes(configs: Sequence[Mapping[str, Any]]) -> list[Axis]:
    """The keys that differ; those of which each value goes with one value of another make one axis."""
    columns: dict[tuple[int, ...], list[str]] = {}
    for key in sorted({key for config in configs for key in config}):
        texts = [repr(config.get(key)) for config in configs]
        if key not in _NOT_SWEPT and len(set(texts)) > 1:
            columns.setdefault(_pattern(texts), []).append(key)
    return [_axis(keys, configs) for keys in columns.values()]


def _pattern(texts: Sequence[str]) -> tuple[int, ...]:
    """Which of a key's values are alike, whatever they are."""
    first = {text: place for place, text in reversed(list(enumerate(texts)))}
    return tuple(first[text] for text in texts)


def _axis(keys: Sequence[str], configs: Sequence[Mapping[str, Any]]) -> Axis:
    """Of keys of one section, such as the languages, the first stands for all."""
    shown = tuple(keys) if len({key.partition(".")[0] for key in keys}) > 1 else (keys[0],)
    axis = Axis(shown, ", ".join(map(short_key, shown)), ())
    found = {axis.label(config): [config.get(key) for key in shown] for config in configs}
    return Axis(shown, axis.name, tuple(sorted(found, key=lambda label: _order(found[label]))))


def _order(values: Sequence[Any]) -> list[tuple[int, Any]]:
    """Numbers by size, lists by length, all else by its text."""
    return [
        (0, value)
        if isinstance(value, int | float)
        else (1, (len(value), plain(value)))
        if isinstance(value, list)
        else (2, str(value))
        for value in values
    ]


class Results:
    """A benchmark's headline metric for every setting of a sweep; a number is drawn once for all that show it."""

    def __init__(self, sweep: Sweep, benchmark: str, metric: str) -> None:
        self.sweep, self.benchmark, self.metric = sweep, benchmark, metric
        self._tables: dict[tuple[tuple[str, ...], int, str], Array] = {}
        self._estimates: dict[tuple[object, ...], SeedEstimate | None] = {}

    def _once(
        self, place: tuple[object, ...], make: Callable[[], SeedEstimate | None]
    ) -> SeedEstimate | None:
        if place not in self._estimates:
            self._estimates[place] = make()
        return self._estimates[place]

    @cached_property
    def languages(self) -> LanguagesConfig | None:
        """Of all settings, None where they are swept themselves."""
        found = {run.config.languages for setting in self.sweep.settings for run in setting.runs}
        return next(iter(found)) if len(found) == 1 else None

    @cached_property
    def codes(self) -> list[str]:
        """The languages that every run evaluates, the dominant one first."""
        runs = [run for setting in self.sweep.settings for run in setting.runs]
        every = [set(by_language(run, self.benchmark, self.metric, 0)) for run in runs]
        shared = set.intersection(*every) if every else set()
        return [code for code in runs[0].config.languages.all if code in shared]

    @property
    def dominant(self) -> str:
        return self.sweep.settings[0].runs[0].config.languages.dominant

    @property
    def headline(self) -> str:
        """The row that a setting is judged by."""
        if self.languages is not None:
            return MEAN_NON_DOMINANT
        return f"mean of {' '.join(code for code in self.codes if code != self.dominant)}"

    @property
    def rows(self) -> list[str]:
        """The languages, and the means over them."""
        if self.languages is None:
            return [*self.codes, self.headline]
        return [
            name
            for name, _ in language_rows(self.languages, with_gap=False)
            if name in self.codes or name in (MEAN_NON_DOMINANT, MEAN_UNSEEN)
        ]

    def last(self, setting: Setting) -> int:
        """t of the last model that all its seeds have evaluated."""
        return min(last_iteration(run.scores, self.benchmark) for run in setting.runs)

    def values(self, setting: Setting, iteration: int, row: str) -> Array:
        """[seeds, problems] of M_t."""
        place = (setting.labels, iteration, row)
        if place not in self._tables:
            self._tables[place] = table([v for v in self._found(setting, iteration, row) if v is not None])
        return self._tables[place]

    def _found(self, setting: Setting, iteration: int, row: str) -> Iterator[ByProblem | None]:
        for run in setting.runs:
            found = by_language(run, self.benchmark, self.metric, iteration)
            yield self._pick(found, row)

    def _pick(self, found: Mapping[str, ByProblem], row: str) -> ByProblem | None:
        if self.languages is not None:
            return dict(language_rows(self.languages, with_gap=False))[row](found)
        if row in self.codes:
            return found.get(row)
        others = [code for code in self.codes if code != self.dominant]
        return weighted(found, {code: 1.0 / len(others) for code in others})

    def level(self, setting: Setting, iteration: int, row: str) -> SeedEstimate | None:
        """Of M_t."""
        place = ("level", setting.labels, iteration, row)
        return self._once(place, lambda: over_seeds(self.values(setting, iteration, row), RATE))

    def changes(self, setting: Setting, row: str) -> Array | None:
        """[seeds, problems]: last model minus M_0, None where there is no such thing."""
        last = self.last(setting)
        after, before = self.values(setting, last, row), self.values(setting, 0, row)
        return after - before if last and after.size and after.shape == before.shape else None

    def change(self, setting: Setting, row: str) -> SeedEstimate | None:
        """Last model minus M_0."""
        return self._once(("change", setting.labels, row), lambda: self._change(setting, row))

    def _change(self, setting: Setting, row: str) -> SeedEstimate | None:
        found = self.changes(setting, row)
        return None if found is None else over_seeds(found, RATE_DIFFERENCE)

    def against(self, setting: Setting, other: Setting) -> SeedEstimate | None:
        """How much more a setting changes the headline than another one, over the same seeds and problems."""
        mine, theirs = self.changes(setting, self.headline), self.changes(other, self.headline)
        if mine is None or theirs is None or mine.shape != theirs.shape or _seeds(setting) != _seeds(other):
            return None
        return over_seeds(mine - theirs, (2 * RATE_DIFFERENCE[0], 2 * RATE_DIFFERENCE[1]))

    def effect(self, axis: int, value: str, row: str) -> SeedEstimate | None:
        """The change at one value of an axis, averaged over the settings that have it; they share their seeds."""
        return self._once(("effect", axis, value, row), lambda: self._effect(axis, value, row))

    def _effect(self, axis: int, value: str, row: str) -> SeedEstimate | None:
        own = [s for s in self.sweep.settings if s.labels[axis] == value]
        found = [t for s in own if (t := self.changes(s, row)) is not None]
        if not found or len({t.shape for t in found}) > 1 or len({_seeds(s) for s in own}) > 1:
            return None
        return over_seeds(np.mean(found, axis=0), RATE_DIFFERENCE)


def _seeds(setting: Setting) -> tuple[int, ...]:
    return tuple(run.config.seed for run in setting.runs)


def _results(sweep: Sweep) -> Iterator[Results]:
    runs = [run for setting in sweep.settings for run in setting.runs]
    for benchmark in runs[0].config.evaluation:
        metrics = {s.metric for s in runs[0].scores if s.benchmark == benchmark}
        metric = next((m for m in HEADLINES if m in metrics), None)
        if metric is not None and all(benchmark in run.config.evaluation for run in runs):
            found = Results(sweep, benchmark, metric)
            if found.codes:
                yield found
