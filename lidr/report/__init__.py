"""Tables, figures and a page from a run's own files: Markdown, LaTeX, CSV, PNG, PDF and HTML."""

from lidr.report.build import ReportPaths, build_report
from lidr.report.runs import read_scores
from lidr.report.terminal import audit_tables, seed_tables, sweep_tables, terminal_table

__all__ = [
    "ReportPaths",
    "audit_tables",
    "build_report",
    "read_scores",
    "seed_tables",
    "sweep_tables",
    "terminal_table",
]
