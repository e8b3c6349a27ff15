"""The commands behind the command line, each importing what it needs when it is called."""

from lidr.commands.calibrate import calibrate
from lidr.commands.check import check
from lidr.commands.judge import judge
from lidr.commands.lab import lab_build
from lidr.commands.outputs import outputs
from lidr.commands.report import report
from lidr.commands.run import hydra_help, run
from lidr.commands.status import status
from lidr.commands.sync import sync
from lidr.commands.table import table

__all__ = [
    "calibrate",
    "check",
    "hydra_help",
    "judge",
    "lab_build",
    "outputs",
    "report",
    "run",
    "status",
    "sync",
    "table",
]
