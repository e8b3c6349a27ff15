"""Every malformed input in this process; `python -m tests.torture.inputs` types them."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from lidr.config import OnIncomplete
from lidr.errors import LidrError
from lidr.prompts import load
from tests.prompts.make import config, rows, write
from tests.torture.case import Case, here
from tests.torture.inputs import CASES

FAST = [case for case in CASES if not case.slow]


@pytest.mark.allow_hosts(["127.0.0.1"])
@pytest.mark.parametrize("case", FAST, ids=[case.name for case in FAST])
def test_it_works_or_is_refused_in_clear_words(case: Case, tmp_path: Path) -> None:
    result = here(case, tmp_path)
    assert not result.faults, result.line


def test_the_campaign_is_as_large_as_it_says() -> None:
    assert len(CASES) >= 200
    assert len({case.name for case in CASES}) == len(CASES)
    kinds = {re.split(":", case.name)[0] for case in CASES}
    assert kinds == {
        "prompts", "overrides", "conf", "config.yaml", "report", "status", "server", "model", "resumed",
    }  # fmt: skip


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    write(tmp_path, en=rows("a"), es=rows("x"))
    (tmp_path / "en.jsonl").chmod(0)
    settings = config(tmp_path, on_incomplete=OnIncomplete.DROP)
    root = os.geteuid() == 0
    if root:  # to whom every file is readable
        for folder in (tmp_path, *tmp_path.parents):
            if folder.stat().st_mode & 0o005 != 0o005:
                folder.chmod(0o755)
        os.seteuid(65534)
    try:
        with pytest.raises(LidrError, match=r"en\.jsonl: cannot be read \(Permission denied\) ->"):
            load(settings, ["en", "es"])
    finally:
        if root:
            os.seteuid(0)
