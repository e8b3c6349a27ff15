"""Tokens are those that the engines are given."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from lidr.chat import ChatFormat
from lidr.config import ModelConfig, Precision
from lidr.estimate.counting import ByteCounter, counter_of
from lidr.estimate.ranges import Range
from lidr.models import load_tokenizer
from lidr.records import Turn

TURNS = [Turn("What is it?"), Turn("Was ist das?", "<translated>"), Turn("What is it?")]


def named(path: str, system: str | None = None) -> ModelConfig:
    return ModelConfig("m", path, None, Precision.FP32, system)


def test_prompts_and_texts_have_the_tokens_of_the_chat_format(world: Path) -> None:
    counter = counter_of(named(f"{world}/model", "Be brief."))
    chat = ChatFormat(load_tokenizer(f"{world}/model"), "Be brief.")
    assert counter.prompts(TURNS) == Range.exact(sum(map(len, chat.batch_prompt_ids(TURNS))))
    assert counter.texts(["", "ab", "ab"]) == Range.exact(4)


def test_a_tokenizer_with_a_class_of_its_own_is_counted_too(world: Path, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    shutil.copytree(world / "model", folder)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "tokenizer_class": "GPT2Tokenizer"}))
    assert "counted" in counter_of(named(str(folder))).basis


def test_without_a_tokenizer_a_system_prompt_counts_with_every_prompt() -> None:
    counter = ByteCounter(named("x/y", "123456"))
    assert counter.prompts([Turn("12"), Turn("34")]).high == 4 + 2 * (40 + 6)
    assert counter.texts(["é"]).high == 2


def test_the_lab_is_counted_without_torch() -> None:
    code = (
        "import sys; from lidr.__main__ import main; main(['check', 'experiment=lab', 'tracking=none', '--json']);"
        " sys.stderr.write(str({'torch', 'scipy', 'lingua'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "set()"
    assert json.loads(done.stdout)["counting"] == "counted by the tokenizer of builtin:lab"
