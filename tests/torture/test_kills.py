"""The kill campaign's own checks see what they are made for; `python -m tests.torture.kills` kills."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.torture.__main__ import last_line, summary
from tests.torture.case import ROOT
from tests.torture.hook import sitecustomize as hook
from tests.torture.kill_checks import Mirrored, Standing, content, differences
from tests.torture.kill_plan import A_LOOP, KINDS, Kill, Plan, Write, kind_of
from tests.torture.kills import Whole, keep_common

RUN = "outputs/lab/lab-dpo-s0-1"
NAMES = [
    f"{RUN}/iteration-1/pairs/stage.json.tmp", f"{RUN}/iteration-1/training/last.ckpt.tmp", f"{RUN}/config.yaml.tmp",
    f"{RUN}/iteration-1/training/reference.safetensors.tmp", f"{RUN}/wandb/a/b.wandb", f"{RUN}/report/report.md",
    f"{RUN}/iteration-1/model.tmp", f"{RUN}/iteration-1/responses/es.jsonl",
]  # fmt: skip
WRITES = [Write(command, "open", name) for command in (0, 1) for name in NAMES]


def test_every_kind_of_file_is_aimed_at() -> None:
    assert {kind_of(name) for name in NAMES} == set(KINDS)
    drawn = [
        kill
        for seed in range(25)
        for loop in range(Plan.of(seed).loops)
        for kill in Plan.of(seed).kills(loop, WRITES, 10.0)
    ]
    assert len(drawn) >= 25 * (A_LOOP - 2)
    assert {kill.target for kill in drawn} == {"group", "self", "parent"}
    assert {kind_of(kill.name) for kill in drawn if kill.name} == set(KINDS)
    assert sum(kill.name is None for kill in drawn) >= 50
    assert {Plan.of(seed).loops for seed in range(25)} == {1, 2}


def test_a_seed_draws_the_same_kills_again_in_the_order_of_the_loop() -> None:
    kills = Plan.of(3).kills(0, WRITES, 10.0)
    assert kills == Plan.of(3).kills(0, WRITES, 10.0) != Plan.of(4).kills(0, WRITES, 10.0)
    assert [kill.command for kill in kills] == sorted(kill.command for kill in kills)


def hooked(tmp_path: Path, code: str, aim: dict[str, Any] | None) -> tuple[int, list[str]]:
    """A Python process with the hook: its exit code, and what it noted."""
    place, log = tmp_path / "place", tmp_path / "log"
    place.mkdir()
    told = {"root": str(place), "log": str(log), "fired": str(tmp_path / "fired"), "aim": aim}
    variables = {hook.VARIABLE: json.dumps(told), "PYTHONPATH": f"{hook.FOLDER}{os.pathsep}{ROOT}"}
    done = subprocess.run([sys.executable, "-c", code], cwd=place, env=os.environ | variables, check=False)
    return done.returncode, [line.split(" ", 2)[2] for line in log.read_text().splitlines()]


WRITE = "from pathlib import Path; p = Path('a.tmp'); p.write_text('x'); p.replace('a'); Path('b').write_text('y')"


def test_the_hook_kills_at_the_write_it_is_told(tmp_path: Path) -> None:
    aim = Kill(0, "any", "self", "os.rename", "a.tmp").told()
    code, noted = hooked(tmp_path, WRITE, aim)
    assert code == -signal.SIGKILL
    assert noted == ["open a.tmp", "os.rename a.tmp", "KILL self"]
    assert [path.name for path in (tmp_path / "place").iterdir()] == ["a.tmp"]


def test_the_hook_kills_after_a_time(tmp_path: Path) -> None:
    code, noted = hooked(
        tmp_path, f"{WRITE}; import time; time.sleep(60)", Kill(0, "any", "self", delay=0.3).told()
    )
    assert (code, noted[-1]) == (-signal.SIGKILL, "KILL self")


def test_a_record_that_was_asked_for_twice_is_noted(tmp_path: Path) -> None:
    code = (
        "import os, pathlib; os.makedirs('i/responses'); p = pathlib.Path('i/responses/en.jsonl')\n"
        "p.write_text('{\"id\": 1}\\n' * 2); t = p.with_name('t'); t.write_text(''); t.replace(p)"
    )
    assert "TWICE i/responses/en.jsonl" in hooked(tmp_path, code, None)[1]


def test_a_difference_of_a_byte_is_seen_and_of_a_time_is_not(tmp_path: Path) -> None:
    texts = {"a/stage.json": '{"seconds": 1, "counts": {"kept": 2}}', "a/x.jsonl": "{}\n", "log.txt": "1"}
    changes = {
        "a/stage.json": ('{"seconds": 2, "counts": {"kept": 3}}', ["a/stage.json differs"]),
        "a/x.jsonl": ("{} \n", ["a/x.jsonl differs"]),
        "log.txt": ("2", []),
        "a/last.ckpt": ("", ["a/last.ckpt is left over"]),
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    whole = content(tmp_path)
    (tmp_path / "a/stage.json").write_text(texts["a/stage.json"].replace("1", "9"))
    assert list(differences(whole, content(tmp_path))) == []
    for name, (text, expected) in changes.items():
        (tmp_path / name).write_text(text)
        assert list(differences(whole, content(tmp_path))) == expected
        (tmp_path / name).write_text(texts[name]) if name in texts else (tmp_path / name).unlink()
    (tmp_path / "a/x.jsonl").unlink()
    assert list(differences(whole, content(tmp_path))) == ["a/x.jsonl is missing"]


def standing(logged: int = 0, timed: list[int] | None = None, **values: Any) -> Standing:
    return Standing(steps={"t/metrics.jsonl": logged}, timed={"t/timing.jsonl": timed or []}, **values)


def test_what_is_finished_is_neither_gone_nor_done_again() -> None:
    before = standing(
        manifests={"p/stage.json": (1, b"{}")}, records={"r": {b"1", b"2"}}, references={"t/r": 1}
    )
    assert list(before.lost(before, 2)) == []
    again = standing(manifests={"p/stage.json": (2, b"{}")}, records={"r": {b"1"}}, references={"t/r": 2})
    assert list(before.lost(again, 2)) == [
        "p/stage.json: a finished stage was done again",
        "r: 1 of 2 finished records are gone",
        "t/r: was computed again",
    ]


def test_a_row_of_the_mirror_is_neither_gone_nor_there_twice() -> None:
    """Its clock and how far a table was do not count, but for the last table."""

    def table(digest: str) -> dict[str, str]:
        return {"samples._type": "table-file", "samples.sha256": digest}

    whole, killed = Mirrored(), Mirrored()
    for step, digest in enumerate("abc"):
        whole._take(step, {"loss": step, "_runtime": step, **table(digest)})
        killed._take(step, {"loss": step, "_runtime": 9, **table("c")})
    assert list(whole.lost(killed)) == []
    killed._take(7, {"loss": 1, **table("d")})
    killed._take(8, {"loss": 9})
    del killed.rows['{"loss": 0}']
    assert [line.partition(",")[0] for line in whole.lost(killed)] == [
        "W&B: 1 of 3 rows are missing",
        "W&B: 1 rows too many",
        "W&B: 1 rows are there twice",
        "W&B: the table samples is another one",
    ]


@pytest.mark.parametrize(
    ("logged", "first", "lost"), [(5, 5, False), (5, 4, True), (4, 3, False), (4, 2, True), (1, 1, False)]
)
def test_steps_since_the_last_checkpoint_may_be_done_again(logged: int, first: int, lost: bool) -> None:
    """A checkpoint every 2 steps: after 5 steps that of 4 is there, after 4 it may have been about to be written."""
    done = list(range(1, logged + 1))
    found = list(standing(logged, done).lost(standing(logged, [*done, first, first + 1]), 2))
    assert bool(found) == lost


def test_a_file_whose_name_is_drawn_anew_each_time_is_not_aimed_at() -> None:
    wholes = [
        Whole(
            run, {}, Mirrored(), [Write(0, "open", f"{run}/a"), Write(0, "open", f"{run}/{run}-{drawn}")], 1.0
        )
        for run, drawn in (("r0", "x"), ("r1", "y"))
    ]
    keep_common(wholes)
    assert [[write.name for write in whole.writes] for whole in wholes] == [["r0/a"], ["r1/a"]]


def test_the_last_line_adds_up() -> None:
    from collections import Counter

    sums = Counter(last_line("x\nkills=200 lost=0 tracebacks=0\n"))
    sums.update(last_line("faults=100 lost=1 tracebacks=0\n\n"))
    sums.update(last_line("inputs=227 lost=0 tracebacks=2"))
    assert summary(sums) == "torture: kills=200 faults=100 inputs=227 lost=1 tracebacks=2"
    assert last_line("") == {}
