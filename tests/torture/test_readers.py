"""Whatever bytes or values a reader is given, it reads them or raises a `LidrError` that names the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lidr import jsonl
from lidr.compose import compose_run
from lidr.config import PromptFormat, from_mapping, read_config, to_mapping
from lidr.engines.endpoint_usage import Ledger
from lidr.evaluation import outcomes
from lidr.evaluation.results import read_results
from lidr.model_folder import check, read_json
from lidr.printable import inert
from lidr.prompts import load
from lidr.stages import Stage, StageKind
from lidr.store import RunDirectory
from lidr.synthesis import read
from lidr.synthesis.audit_file import read_audit
from lidr.tracking.stored import held
from lidr.tracking.uploaded import is_uploaded
from tests.prompts.make import config as prompt_config
from tests.torture.strategies import ANY_TEXT, BYTES, JSON, LINES, REPEATABLE, config, nested, refusal


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for all examples of a test."""
    return tmp_path_factory.mktemp("readers")


def reads(path: Path, content: bytes, *readers: Callable[[Path], object]) -> None:
    """Every reader copes with a content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    for reader in readers:
        error = refusal(lambda reader=reader: reader(path))  # type: ignore[misc]
        if error is not None:
            assert str(path.parent) in str(error)
            assert str(error) == inert(str(error))
            assert len(str(error)) < 4000


def _ledger(path: Path) -> None:
    with Ledger(path):
        pass


@REPEATABLE
@given(content=LINES)
def test_readers_of_lines(place: Path, content: bytes) -> None:
    reads(
        place / "outcomes.jsonl",
        content,
        lambda path: list(jsonl.read(path)),
        lambda path: list(jsonl.lines(path)),
        lambda path: list(read.prompts(path, "en")),
        lambda path: list(read.responses(path, "en")),
        lambda path: list(read.translations(path, "en", "es")),
        lambda path: list(read.scores(path, "es", 1)),
        lambda path: list(read.pairs(path)),
        lambda path: outcomes.read(path.parent),
        _ledger,
    )


@REPEATABLE
@given(english=LINES, spanish=LINES, array=st.booleans(), by_id=st.booleans(), answers=st.booleans())
def test_readers_of_prompts(
    place: Path, english: bytes, spanish: bytes, array: bool, by_id: bool, answers: bool
) -> None:
    folder = place / "prompts"
    folder.mkdir(exist_ok=True)
    (folder / "es.jsonl").write_bytes(spanish)
    format_ = PromptFormat.JSON_ARRAY if array else PromptFormat.JSONL
    keys = {"id_key": "id" if by_id else None, "answer_key": "answer" if answers else None}
    settings_ = prompt_config(folder, format=format_, **keys)
    reads(folder / "en.jsonl", english, lambda _: load(settings_, ["en", "es"]))


@REPEATABLE
@given(content=BYTES)
def test_readers_of_whole_files(place: Path, content: bytes) -> None:
    run = RunDirectory(place / "run")
    reads(
        place / "run" / "iteration-1" / "pairs" / "stage.json",
        content,
        read_results,
        read_audit,
        read_config,
        read_json,
        lambda _: run.manifest(Stage(StageKind.PAIRS, 1)),
    )
    (run.root / "status.json").write_bytes(content)
    assert run.status().status in ("to do", "running", "done", "failed")
    attempt = run.root / "wandb" / "offline-run-1-abc"
    attempt.mkdir(parents=True, exist_ok=True)
    for head in (b"", b":W&B\0\0\0"):
        (attempt / "run-abc.wandb").write_bytes(head + content)
        assert held(run.root / "wandb", "abc").rows == 0
    (run.root / "wandb" / "uploaded.json").write_bytes(content)
    assert not is_uploaded(config(), run.root)


@REPEATABLE
@given(
    content=BYTES,
    name=st.sampled_from(["config.json", "adapter_config.json", "model.safetensors.index.json"]),
)
def test_looking_at_a_model_folder(place: Path, content: bytes, name: str) -> None:
    folder = place / "model"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text("{}")
    (folder / name).write_bytes(content)
    assert refusal(lambda: check(str(folder))) is not None
    (folder / name).unlink()


KEYS = st.sampled_from([
    ("objective", "beta"), ("seed",), ("name",), ("model", "path"), ("languages", "unseen"), ("evaluation",),
    ("engine", "endpoint"), ("training", "adam_betas"), ("prompts", "files"), ("engine", "sampling", "top_p"),
    ("lora", "target_modules"), ("trainer", "threads"), ("translator", "template"), ("tracking", "tags"),
])  # fmt: skip


@REPEATABLE
@given(path=KEYS, value=JSON | ANY_TEXT)
@example(path=("seed",), value=10**4000)
@example(path=("evaluation",), value={"a": {"b" * 5000: None}})
def test_a_configuration_is_valid_or_explained(path: tuple[str, ...], value: Any) -> None:
    values = nested(to_mapping(config()), path, value)
    error = refusal(lambda: from_mapping(values))
    if error is not None:
        assert error.exit_code == 2
        assert all(problem.where for problem in getattr(error, "problems", []))
        assert len(str(error)) < 20_000
    else:
        made = from_mapping(values)
        assert from_mapping(to_mapping(made)) == made


PIECES = st.sampled_from(
    ["seed", "=", "[", "{", "$", "'", "name=", "${", "}", ":", ",", "+", "~", "@", "hydra."]
)


@REPEATABLE
@given(word=st.lists(st.text(max_size=12) | PIECES, max_size=6).map("".join))
def test_any_override_is_composed_or_explained(word: str) -> None:
    error = refusal(lambda: compose_run([word]))
    if error is not None:
        assert error.exit_code == 2
        assert str(error)
