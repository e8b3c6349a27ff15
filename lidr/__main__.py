"""The command line. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence

from lidr import __version__
from lidr.errors import LidrError
from lidr.files import unusable

DESCRIPTION = "Language Imbalance Driven Rewarding: multilingual preference training, from prompts to M_T."
EPILOG = """\
lidr run experiment=lab                              the demo: two iterations on the built-in lab
lidr run experiment=lab objective.beta=0.5           one value changed: another run
lidr run -m experiment=lab objective.beta=0.1,0.5    a grid of runs
lidr check experiment=lab                            what would run, nothing started
lidr table mgsm                                      a table of the paper beside your own numbers
lidr sync outputs/lab                                upload to W&B what was kept offline
lidr run --help                                      every config group and key
"""
_HYDRA_FLAGS = ("--help", "-h", "--hydra-help", "--cfg", "-c", "--info", "-i")


def parser() -> argparse.ArgumentParser:
    """The commands and their arguments."""
    top = argparse.ArgumentParser(
        prog="lidr",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"lidr {__version__}")
    commands = top.add_subparsers(dest="command", metavar="command", required=True)
    run = commands.add_parser("run", help="run an experiment, or go on with it", add_help=False)
    run.add_argument("overrides", nargs=argparse.REMAINDER, help="Hydra overrides: group=option, key=value")
    check = commands.add_parser(
        "check", help="validate a configuration and show what would run", add_help=False
    )
    check.add_argument("overrides", nargs=argparse.REMAINDER, help="Hydra overrides: group=option, key=value")
    status = commands.add_parser("status", help="show how far the runs below a folder are")
    status.add_argument("folder", help="a run, or a folder of runs")
    judge = commands.add_parser(
        "judge", help="have judges compare and rate what runs have stored", add_help=False
    )
    judge.add_argument("words", nargs=argparse.REMAINDER, help="run folders, and overrides: judge=[...]")
    calibrate = commands.add_parser(
        "calibrate", help="is a judge's scale the same in every language", add_help=False
    )
    calibrate.add_argument("words", nargs=argparse.REMAINDER, help="options, and overrides: judge=[...]")
    outputs = commands.add_parser("outputs", help="write answers as alpaca_eval's model_outputs.json")
    outputs.add_argument("run", help="a run folder")
    outputs.add_argument("--benchmark", help="one of the run's; all")
    outputs.add_argument("--out", help="folder to write to; the run's own model_outputs/")
    report = commands.add_parser(
        "report", help="write tables, figures and an HTML page of one run, or of several side by side"
    )
    report.add_argument("runs", nargs="+", help="run folders, or folders of runs")
    report.add_argument("--out", help="where to write; a single run's default is its own report/ folder")
    report.add_argument("--wandb", action="store_true", help="save a workspace for these runs in W&B instead")
    report.add_argument("--group", default="", help="with --wandb: config keys to group by, as beta,seed")
    sync = commands.add_parser("sync", help="upload to W&B what runs have kept offline")
    sync.add_argument("runs", nargs="+", help="run folders, or folders of runs")
    _add_table(commands.add_parser("table", help="a table of the paper beside your own numbers"))
    lab = commands.add_parser("lab", help="the built-in lab")
    actions = lab.add_subparsers(dest="action", metavar="action", required=True)
    build = actions.add_parser("build", help="pretrain the lab's M_0 from a seed")
    build.add_argument("--output", default="models/lab", help="the model folder to write; models/lab")
    build.add_argument("--seed", type=int, default=0)
    build.add_argument("--steps", type=int, help="optimizer steps; the default is the shipped model's")
    return top


def _add_table(command: argparse.ArgumentParser) -> None:
    command.add_argument("name", nargs="?", help="the table; with --list, what it takes")
    command.add_argument(
        "runs", nargs="*", help="runs, or folders of runs; finished ones are looked up without"
    )
    command.add_argument(
        "--list", action="store_true", help="what there is, what has been run, what it takes"
    )
    command.add_argument(
        "--scale", choices=("paper", "lab"), help="which edition; the paper's where it was run"
    )
    command.add_argument("--judge", help="whose scores, where several judges have scored")
    command.add_argument("--data", help="with --list: folder of the official files, to count tokens in")
    command.add_argument("--out", help="folder to write to; <paths.outputs>/tables/<table>")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; a user's mistake is printed as a line, never as a traceback.

    Returns:
        0 done, 1 a run failed, 2 the command or configuration is wrong and nothing was started, 130 interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    _print_anything()
    if not words:
        parser().print_help()
        return 0
    if words[0] in ("run", "check", "judge", "calibrate"):
        options = argparse.Namespace(command=words[0], overrides=words[1:])
    else:
        options = parser().parse_args(words)
    try:
        return _dispatch(options)
    except LidrError as error:
        return _refuse(error)
    except BrokenPipeError:  # whoever read the output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        problem = unusable(error)
        if problem is None:
            raise
        return _refuse(problem)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the same command goes on from what is finished\n")
        return 130


def _refuse(error: LidrError) -> int:
    sys.stderr.write(f"{error}\n")
    return error.exit_code


def _print_anything() -> None:
    """Characters that the terminal's encoding lacks are written out."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _dispatch(options: argparse.Namespace) -> int:
    from lidr import commands

    if options.command == "run" and any(word in _HYDRA_FLAGS for word in options.overrides):
        return commands.hydra_help(options.overrides)
    if options.command == "run":
        return commands.run(options.overrides)
    if options.command == "check":
        return commands.check(options.overrides)
    if options.command == "judge":
        return commands.judge(options.overrides)
    if options.command == "calibrate":
        return commands.calibrate(options.overrides)
    if options.command == "outputs":
        return commands.outputs(options.run, options.benchmark, options.out)
    if options.command == "status":
        return commands.status(options.folder)
    if options.command == "report":
        return commands.report(options.runs, options.out, wandb=options.wandb, group=options.group)
    if options.command == "sync":
        return commands.sync(options.runs)
    if options.command == "table":
        return commands.table(options)
    return commands.lab_build(options.output, options.seed, options.steps)


if __name__ == "__main__":
    sys.exit(main())
