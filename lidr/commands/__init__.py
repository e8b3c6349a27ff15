"""The commands behind the command line, each importing what it needs when it is called."""

from lidr.commands.check import check
from lidr.commands.lab import lab_build
from lidr.commands.report import report
from lidr.commands.run import hydra_help, run
from lidr.commands.status import status
from lidr.commands.table import table

__all__ = ["check", "hydra_help", "lab_build", "report", "run", "status", "table"]
