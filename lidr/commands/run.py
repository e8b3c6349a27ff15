"""``lidr run``: one run, or a Hydra multirun of many."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from lidr.config import RunConfig
from lidr.console import console


def run(overrides: Sequence[str]) -> int:
    """Runs what the overrides name; returns the exit code."""
    from lidr.commands.sweep import sweep
    from lidr.compose import compose_run, is_sweep
    from lidr.logs import show

    show()
    if is_sweep(overrides):
        return sweep([o for o in overrides if o not in ("-m", "--multirun")])
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


def hydra_help(overrides: Sequence[str]) -> int:
    """Hydra's own ``--help``, ``--cfg`` and ``--info``, over the project's groups."""
    from lidr.compose import check_hydra

    check_hydra([word for word in overrides if "=" in word])
    _hydra_main(list(overrides))
    return 0


def _nothing(values: Any) -> None:
    """Hydra shows and ends before it comes to a task."""


def _hydra_main(arguments: list[str]) -> None:
    import hydra

    from lidr.compose import VERSION_BASE, config_folder, register

    register()
    argv, sys.argv = sys.argv, ["lidr run", *arguments]
    try:
        hydra.main(
            config_path=str(config_folder("conf").resolve()), config_name="config", version_base=VERSION_BASE
        )(_nothing)()
    finally:
        sys.argv = argv
