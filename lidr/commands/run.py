"""``lidr run``: one run, or a Hydra multirun of many."""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.table import Table

from lidr.config import Accelerator, RunConfig
from lidr.console import console
from lidr.errors import ConfigError, LidrError
from lidr.preflight import preflight
from lidr.store import RunDirectory

log = logging.getLogger(__name__)


def run(overrides: Sequence[str]) -> int:
    """Runs what the overrides name; returns the exit code."""
    from lidr.compose import compose_run, is_sweep
    from lidr.logs import show

    show()
    if is_sweep(overrides):
        return _sweep([o for o in overrides if o not in ("-m", "--multirun")])
    config = compose_run(overrides)
    return _single(config)


def _single(config: RunConfig) -> int:
    from lidr.loop import run as run_loop
    from lidr.report import audit_tables, read_scores, terminal_table

    result = run_loop(config)
    terminal = console()
    for table in audit_tables(result.run.root):
        terminal.print(table, "")
    scores = read_scores(result.run.root)
    if scores:
        terminal.print(terminal_table(scores))
    terminal.print(f"run     {result.run.root}", highlight=False, soft_wrap=True)
    terminal.print(f"report  {result.report}", highlight=False, soft_wrap=True)
    return 0


def _sweep(overrides: list[str]) -> int:
    """Every job is validated before the first starts; a failed one does not stop the others."""
    from lidr.compose import compose_sweep

    jobs = compose_sweep(overrides)
    _refuse_several_devices([config for _, config in jobs])
    for _, config in jobs:
        preflight(config)
    folders = [RunDirectory.of(config) for _, config in jobs]
    before = [_state(folder) for folder in folders]
    log.info("%d jobs, %d of them done before", len(jobs), before.count("done"))
    _hydra_main(["--multirun", *overrides])
    after = [_state(folder) for folder in folders]
    words = [
        "skipped" if was == "done" else "ok" if now == "done" else "failed"
        for was, now in zip(before, after, strict=True)
    ]
    _print_jobs(jobs, folders, words)
    return 1 if "failed" in words else 0


def _refuse_several_devices(configs: Sequence[RunConfig]) -> None:
    """A multirun's jobs may run side by side, on devices that each takes for its own."""
    for config in configs:
        trainer = config.trainer
        if trainer.ranks > 1:
            where = f"trainer.devices={trainer.devices} trainer.nodes={trainer.nodes}"
            raise ConfigError([_several(len(configs), f"train on {trainer.ranks} devices", where)])
        engines = {"engine": config.engine, "translator.engine": config.translator.engine}
        for where, engine in engines.items():
            if engine is not None and engine.processes > 1 and trainer.accelerator is Accelerator.CUDA:
                what = f"answer by {engine.processes} processes with GPUs of their own"
                raise ConfigError([_several(len(configs), what, f"{where}.processes={engine.processes}")])


def _several(jobs: int, what: str, where: str) -> LidrError:
    return LidrError(
        f"{jobs} jobs of one command cannot each {what}",
        where=where,
        instead="type one `lidr run` after the other without -m, or one sbatch for each (docs/distributed.md)",
    )


def _state(folder: RunDirectory) -> str:
    return folder.status().status


def _print_jobs(
    jobs: Sequence[tuple[list[str], RunConfig]], folders: Sequence[RunDirectory], words: list[str]
) -> None:
    table = Table("job", "overrides", "result", "run", box=None, header_style="bold")
    for number, ((overrides, _), folder, word) in enumerate(zip(jobs, folders, words, strict=True)):
        error = folder.status().error if word == "failed" else None
        table.add_row(
            str(number), " ".join(overrides), f"{word}: {error}" if error else word, str(folder.root)
        )
    terminal = console()
    terminal.print(table)
    counts = Counter(words)
    terminal.print(
        ", ".join(f"{counts[word]} {word}" for word in ("ok", "failed", "skipped")), highlight=False
    )


def hydra_help(overrides: Sequence[str]) -> int:
    """Hydra's own ``--help``, ``--cfg`` and ``--info``, over the project's groups."""
    from lidr.compose import check_hydra

    check_hydra([word for word in overrides if "=" in word])
    _hydra_main(list(overrides))
    return 0


def _hydra_main(arguments: list[str]) -> None:
    import hydra

    from lidr.compose import VERSION_BASE, config_folder, register

    register()
    argv, sys.argv = sys.argv, ["lidr run", *arguments]
    try:
        hydra.main(
            config_path=str(config_folder("conf").resolve()), config_name="config", version_base=VERSION_BASE
        )(_task)()
    finally:
        sys.argv = argv


def _task(values: Any) -> str:
    """One job of a multirun; its failure is written down in its own run and does not stop the others."""
    from lidr.compose import to_run
    from lidr.logs import show
    from lidr.loop import run as run_loop

    show()
    config = to_run(values)
    try:
        run_loop(config)
    except LidrError as error:
        log.error("%s", error)
    except Exception as error:
        log.error(
            "%s: %s; the traceback is in %s",
            type(error).__name__,
            error,
            RunDirectory.of(config).root / "log.txt",
        )
    return _state(RunDirectory.of(config))
