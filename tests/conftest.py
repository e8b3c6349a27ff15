"""Tests share two cores, so each process has one thread; signatures of the formulas are checked in tests only.

What is imported while tests are collected stays until the end: the garbage collector need not look through it for
every test, nor while it is imported.
"""

from __future__ import annotations

import gc
import os
import re
from functools import cache
from typing import TYPE_CHECKING

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # where a test asks for two, the one that waits sleeps
gc.disable()

import pytest  # noqa: E402
from jaxtyping import install_import_hook  # noqa: E402

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler import LoadGroupScheduling

    from lidr.loop import RunResult

CHECKED = ("objective", "logprobs", "batching", "reference", "schedule", "metrics", "pairs")
install_import_hook([f"lidr.training.{name}" for name in CHECKED], "beartype.beartype")


_GROUP = re.compile(r"^pytestmark\b.*?xdist_group\(\"(\w+)\"\)", re.MULTILINE | re.DOTALL)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadGroupScheduling | None:
    """Keeps the tests of a file that names a group together, and files of one group.

    xdist 3.8 hands groups on in the tests' ids, which pytest 9.2 does not let it change.
    """
    if config.getvalue("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadGroupScheduling

    @cache
    def group(file: str) -> str | None:
        found = _GROUP.search((config.rootpath / file).read_text(encoding="utf-8"))
        return found and found[1]

    class Grouped(LoadGroupScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group(nodeid.partition("::")[0]) or nodeid

    return Grouped(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def looped(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """Two iterations on the lab, with W&B's files, made once for all tests of the group "loop"; not to be changed."""
    from lidr.loop import run
    from tests.test_loop import FEW_ANSWERS, config

    return run(config(tmp_path_factory.mktemp("looped"), FEW_ANSWERS))
