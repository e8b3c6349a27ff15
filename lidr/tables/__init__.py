"""The paper's tables beside a reader's own numbers: specs as data, one tidy frame, Markdown, LaTeX, CSV, figures."""

from lidr.tables.build import TablePaths, TableResult, build_table
from lidr.tables.editions import Scale
from lidr.tables.headers import Header, read_header
from lidr.tables.spec import TableSpec, read_table, table_names

__all__ = [
    "Header",
    "Scale",
    "TablePaths",
    "TableResult",
    "TableSpec",
    "build_table",
    "read_header",
    "read_table",
    "table_names",
]
