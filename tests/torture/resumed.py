"""Files of a run that is not finished and are no longer what they were, met by the same `lidr run` again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import torch

from lidr.commands.run import run
from tests.torture.case import ROOT, Case, Given

Change = Callable[[Path], object]
WORDS = (
    "experiment=lab", "iterations=1", "prompts.limit=4", "evaluation=[lab]", "evaluation.lab.prompts.limit=4",
    "languages.non_dominant=[es]", "languages.unseen=[]", "tracking=none", "training.checkpoint_steps=1",
    "training.global_batch=2", "trainer.precision=fp32", "paths.outputs=outputs",
)  # fmt: skip


@cache
def template() -> Path:
    """A finished run, made once."""
    place = Path(tempfile.mkdtemp(prefix="lidr-torture-"))
    command = [sys.executable, "-m", "lidr", "run", *WORDS]
    variables = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run(command, cwd=place, env=variables, check=True, capture_output=True)
    return place / "outputs"


def resumed(name: str, change: Change, says: str | None) -> Case:
    """A finished run, changed, and the same command."""

    def prepare(place: Path, _: ExitStack) -> Given:
        shutil.copytree(template(), place / "outputs")
        change(next((place / "outputs" / "lab").iterdir()))
        return Given(["run", *WORDS], lambda: run(WORDS))

    return Case(f"resumed: {name}", prepare, says, shows="" if says else "report ", slow=True)


def undone(*stages: str) -> Change:
    """Stages that are not finished."""

    def change(folder: Path) -> None:
        for stage in stages:
            (folder / stage / "stage.json").unlink()

    return change


def after(*changes: Change) -> Change:
    """One change after the other."""

    def change(folder: Path) -> None:
        for each in changes:
            each(folder)

    return change


def content(file: str, data: bytes) -> Change:
    """A file with another content."""
    return lambda folder: (folder / file).write_bytes(data)


def appended(file: str, data: bytes) -> Change:
    """A file with more at its end."""
    return lambda folder: (folder / file).write_bytes((folder / file).read_bytes() + data)


def a_folder(file: str) -> Change:
    """A folder where a file was."""

    def change(folder: Path) -> None:
        (folder / file).unlink(missing_ok=True)
        (folder / file).mkdir()

    return change


def checkpoint(value: object) -> Change:
    """A checkpoint of the training that is not finished."""

    def change(folder: Path) -> None:
        undone("iteration-1/training", "iteration-1/evaluation")(folder)
        path = folder / "iteration-1" / "training" / "last.ckpt"
        path.write_bytes(value) if isinstance(value, bytes) else torch.save(value, path)

    return change


class Evil:
    """Names code that a pickle would run."""

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (Path("was-run"),)


def first(file: str, **values: object) -> Change:
    """The first record with other values."""

    def change(folder: Path) -> None:
        lines = (folder / file).read_text().splitlines()
        lines[0] = json.dumps(json.loads(lines[0]) | values)
        (folder / file).write_text("".join(f"{line}\n" for line in lines))

    return change


RESPONSES = "iteration-1/responses"
LATER = ("iteration-1/translations", "iteration-1/pairs", "iteration-1/training", "iteration-1/evaluation")
RESPONSE = f"{RESPONSES}/en.jsonl"
EVALUATED = "iteration-1/evaluation/lab/es.jsonl"
PAIRS = "iteration-1/pairs/pairs.jsonl"
OPEN = undone(RESPONSES, *LATER)
EVALUATING = undone("iteration-1/evaluation")
UNREADABLE = r"last\.ckpt: not a readable checkpoint \(\w+\) -> delete it"
_CHANGES: dict[str, tuple[Change, str | None]] = {
    "nothing": (lambda folder: None, None),
    "a torn last line": (after(OPEN, appended(RESPONSE, b'{"id": "torn')), None),
    "garbage at the end": (after(OPEN, appended(RESPONSE, b"\0\xff\xfe\n")), r"en\.jsonl:5: the line is not UTF-8"),
    "a record that is a list": (after(OPEN, appended(RESPONSE, b"[1]\n")), r"en\.jsonl:5: the line is a JSON list"),
    "a record of nobody": (after(OPEN, appended(RESPONSE, b'{"id": "x"}\n')), r"en\.jsonl:5: the record 'x' is not of"),
    "an answer that is a number": (after(undone(*LATER), first(RESPONSE, response=5)), "written by the finished stage"),
    "an answer without a text": (after(OPEN, first(RESPONSE, response=None)), "has no text under 'response'"),
    "an answer in another language": (after(OPEN, first(RESPONSE, language="de")), "is in 'de', the file's name says"),
    "tokens that are a text": (after(OPEN, first(RESPONSE, tokens="many")), "under 'tokens' is no number of tokens"),
    "an end for no reason": (after(OPEN, first(RESPONSE, finish_reason="why")), "ended for the reason 'why'"),
    "a stored answer without a text": (
        after(EVALUATING, first(EVALUATED, response=None)), r"es\.jsonl:1: has no text under 'response'"),
    "a stored answer to another text": (after(EVALUATING, first(EVALUATED, prompt="x")), "is not of this stage's"),
    "a pair file that shrank": (after(undone(*LATER[2:]), content(PAIRS, b"")), "written by the finished stage"),
    "a manifest that is broken": (content("iteration-1/pairs/stage.json", b"{"), "not a readable manifest -> delete"),
    "a manifest that is a list": (content("iteration-1/pairs/stage.json", b"[]"), "not a readable manifest -> delete"),
    "a configuration of another run": (
        lambda folder: (folder / "config.yaml").write_text(
            (folder / "config.yaml").read_text().replace("seed: 0", "seed: 1")),
        r"config\.yaml: is of another run \(seed: 0 here, 1 there\).*move the folder away"),
    "a configuration that is broken": (content("config.yaml", b"\xff"), "not a readable configuration"),
    "a log that is a folder": (a_folder("log.txt"), r"log\.txt: cannot be used \(Is a directory\)"),
    "a status that is a folder": (a_folder("status.json"), r"status\.json: cannot be used \(Is a directory\)"),
    "results that are a folder": (after(EVALUATING, a_folder("results.json")), "cannot be used"),
    "a file where an iteration goes": (
        lambda folder: (shutil.rmtree(folder / "iteration-1"), (folder / "iteration-1").write_text("x")),
        "iteration-1.*cannot be used"),
    "a checkpoint of garbage": (checkpoint(b"garbage"), UNREADABLE),
    "an empty checkpoint": (checkpoint(b""), UNREADABLE),
    "a checkpoint that is a list": (checkpoint([1]), UNREADABLE),
    "a checkpoint without our entry": (checkpoint({"state_dict": {}}), UNREADABLE),
    "a checkpoint whose entry is a text": (checkpoint({"lidr": "x"}), UNREADABLE),
    "a checkpoint that names code": (checkpoint({"lidr": Evil()}), UNREADABLE),
    "a checkpoint of another training": (
        checkpoint({"lidr": {"key": "x", "step": 1}}), "the checkpoint was trained from other pairs"),
    "reference log-probs of garbage": (
        after(checkpoint(b"x"), lambda f: (f / "iteration-1/training/last.ckpt").unlink(),
              content("iteration-1/training/reference.safetensors", b"garbage")), None),
    "choices of garbage": (
        after(undone("iteration-1/training", "iteration-1/evaluation"),
              content("iteration-1/training/choices.json", b"[" * 9)), None),
    "a ledger of garbage": (content("usage.jsonl", b"{"), None),
}  # fmt: skip

CASES: list[Case] = [resumed(name, change, says) for name, (change, says) in _CHANGES.items()]
