"""lm-evaluation-harness itself, and the tasks it knows: imported and read only where a benchmark needs them."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

from lidr.config import LmEvalConfig, RunConfig
from lidr.config.benchmark_schema import LANGUAGE
from lidr.errors import LidrError

_NEAREST = 3  # names that an error offers


def module(name: str, where: str) -> Any:
    """A module of lm-eval.

    Raises:
        LidrError: lm-eval, or a package that it needs, is not installed.
    """
    try:
        with own_warnings():
            return import_module(name)
    except ImportError as error:
        raise LidrError(
            f"lm-eval cannot be imported ({error})",
            where=where,
            instead="install with: pip install 'lidr[lm_eval]'",
        ) from error


@contextmanager
def own_warnings() -> Iterator[None]:
    """What lm-eval's modules warn of is about their own code, and nothing that a user could mend."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def problems(config: RunConfig) -> Iterator[LidrError]:
    """What will stop a run's benchmarks, as far as it is known without their data: lm-eval and the tasks' names."""
    for name, benchmark in config.lm_eval_benchmarks.items():
        where, codes = f"evaluation.{name}", benchmark.codes(config.languages)
        try:
            known = catalogue(benchmark, codes, where)
        except LidrError as error:
            yield error
            continue
        absent = {code: [t for t in benchmark.tasks(code) if t not in known.task_index] for code in codes}
        kept = [code for code, tasks in absent.items() if not tasks]
        for language, tasks in absent.items():
            for task in tasks:
                yield _unknown(task, language, benchmark, known, where, kept)


def catalogue(benchmark: LmEvalConfig, languages: Sequence[str], where: str) -> Any:
    """lm-eval's `TaskManager`: of a benchmark's own folder where that has all of its tasks, else of both.

    lm-eval's own tasks are thousands of files, which take a while to read.

    Raises:
        LidrError: lm-eval is not installed, or there is no such folder.
    """
    manager = module("lm_eval.tasks", where).TaskManager
    if benchmark.include_path is None:
        return _catalogue(manager, None, True)
    folder = Path(benchmark.include_path).expanduser()
    if not folder.is_dir():
        raise LidrError(
            f"there is no folder {str(folder)!r}",
            where=f"{where}.include_path",
            instead="type the folder of your task files, or null",
        )
    own = _catalogue(manager, folder, False)
    wanted = {task for language in languages for task in benchmark.tasks(language)}
    return own if wanted <= set(own.all_subtasks) else _catalogue(manager, folder, True)


@lru_cache(maxsize=4)
def _catalogue(manager: Any, folder: Path | None, with_defaults: bool) -> Any:
    """Read once for the benchmarks and jobs that share it."""
    with own_warnings():
        return manager(include_path=folder, include_defaults=with_defaults)


def parts(known: Any, task: str, where: str) -> list[str]:
    """The tasks of a group or a tag, in order, or the task itself; a group that changes its tasks is one whole.

    Raises:
        LidrError: lm-eval knows no such name.
    """
    entry = known.task_index.get(task)
    if entry is None:
        raise LidrError(f"lm-eval knows no task {task!r}", where=where, instead=_nearest(task, known))
    if entry.kind.name == "TAG":
        return [part for name in sorted(entry.tags) for part in parts(known, name, where)]
    children = entry.cfg.get("task") if entry.kind.name == "GROUP" else None
    if not isinstance(children, list) or not all(isinstance(child, str) for child in children):
        return [task]
    return [part for name in children for part in parts(known, name, where)]


def _unknown(
    task: str, language: str, benchmark: LmEvalConfig, known: Any, where: str, kept: Sequence[str]
) -> LidrError:
    """A wrong name; or a language without a task, where the pattern gives others one, `kept` among those asked for."""
    pattern = next(m.task for m in benchmark.metrics.values() if benchmark.task(m, language) == task)
    before, _, behind = pattern.partition(LANGUAGE)
    codes = sorted(
        name[len(before) : len(name) - len(behind)]
        for name in known.all_subtasks + known.all_groups
        if name.startswith(before) and name.endswith(behind) and len(name) > len(before) + len(behind)
    )
    codes = [code for code in codes if len(code) == len(language)]
    if codes:
        return LidrError(
            f"lm-eval has no task {task!r}: none in {language}, there are {', '.join(codes)}",
            where=where,
            instead=f"type {where}.languages=[{','.join(kept)}]" if kept else "choose languages that it has",
        )
    return LidrError(
        f"lm-eval knows no task {task!r}", where=f"{where}.metrics", instead=_nearest(task, known)
    )


def _nearest(task: str, known: Any) -> str:
    near = difflib.get_close_matches(task, known.all_tasks, n=_NEAREST, cutoff=0.6)
    if near:
        return "did you mean " + " or ".join(map(repr, near)) + "?"
    return "`lm-eval ls tasks` lists the names; a folder of your own is named by include_path"
