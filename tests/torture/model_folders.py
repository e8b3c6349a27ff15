"""Model folders that are not what they should be, asked to answer a prompt."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from lidr.compose import compose_run
from lidr.config import RunConfig, SamplingConfig
from lidr.engines.load import load_engine
from lidr.preflight import preflight
from lidr.records import Prompt
from lidr.synthesis.generate import generate
from tests import tiny
from tests.torture.case import Case, Given

Change = Callable[[Path], object]
BASE = (
    "iterations=0", "evaluation=[lab]", "evaluation.lab.prompts.limit=1", "evaluation.lab.languages=[en,es]",
    "evaluation.lab.max_new_tokens=4", "languages.non_dominant=[es]", "languages.unseen=[]", "tracking=none",
    "processes=inline", "model.name=broken", "paths.outputs=outputs",
)  # fmt: skip
WEIGHTS, CONFIG = "model.safetensors", "config.json"
TOKENIZER, TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"


@cache
def template() -> Path:
    """A good one, made once."""
    return tiny.save(Path(tempfile.mkdtemp(prefix="lidr-torture-")) / "model")


@cache
def _config() -> RunConfig:
    return compose_run([*BASE, "model.path=model"])


def folder(name: str, change: Change, says: str | None) -> Case:
    """A tiny model's folder, changed."""

    def prepare(place: Path, _: ExitStack) -> Given:
        model = place / "model"
        shutil.copytree(template(), model)
        change(model)
        return Given(["run", *BASE, "model.path=./model"], lambda: _answer(model))

    return Case(f"model: {name}", prepare, says, shows="" if says else "report ")


def _answer(model: Path) -> None:
    from dataclasses import replace

    config = replace(_config(), model=replace(_config().model, path=str(model)))
    preflight(config)
    engine = load_engine(config, str(model), 0, model.parent / "usage.jsonl")
    sampling = SamplingConfig(max_new_tokens=4, repetition_penalty=1.0)
    assert generate({"en": [Prompt("a", "en", "one")]}, engine, sampling, model.parent / "responses") == 1


def content(file: str, data: bytes) -> Change:
    """A file with another content."""
    return lambda model: (model / file).write_bytes(data)


def without(*files: str) -> Change:
    """Without some files."""

    def change(model: Path) -> None:
        for file in files:
            (model / file).unlink()

    return change


def edited(file: str, **values: Any) -> Change:
    """A JSON file with other values; None takes one out."""

    def change(model: Path) -> None:
        path = model / file
        found = json.loads(path.read_text()) | values
        path.write_text(json.dumps({key: value for key, value in found.items() if value is not None}))

    return change


def chat_template(text: str | None) -> Change:
    """Another chat template."""

    def change(model: Path) -> None:
        (model / "chat_template.jinja").unlink(missing_ok=True)
        edited(TOKENIZER_CONFIG, chat_template=text)(model)

    return change


def weights(edit: Callable[[dict[str, torch.Tensor]], object]) -> Change:
    """Other weights."""

    def change(model: Path) -> None:
        tensors = load_file(model / WEIGHTS)
        edit(tensors)
        save_file(tensors, model / WEIGHTS, metadata={"format": "pt"})

    return change


def truncated(share: float) -> Change:
    """A download that broke off."""

    def change(model: Path) -> None:
        data = (model / WEIGHTS).read_bytes()
        (model / WEIGHTS).write_bytes(data[: int(len(data) * share)])

    return change


def a_pickle(model: Path) -> None:
    """The same weights as a pickle alone."""
    torch.save(load_file(model / WEIGHTS), model / "pytorch_model.bin")
    (model / WEIGHTS).unlink()


def an_index(**names: Any) -> Change:
    """An index in place of one file."""

    def change(model: Path) -> None:
        (model / WEIGHTS).rename(model / "model-00001-of-00001.safetensors")
        (model / "model.safetensors.index.json").write_text(json.dumps(names))

    return change


def indexed(file: str) -> Change:
    """An index that names a file for every tensor."""

    def change(model: Path) -> None:
        names = dict.fromkeys(load_file(model / WEIGHTS), file)
        an_index(weight_map=names, metadata={})(model)

    return change


def an_adapter(**values: Any) -> Change:
    """An adapter's configuration without the adapter, or with another one."""

    def change(model: Path) -> None:
        base = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 2, "target_modules": ["q_proj"]}
        shutil.copytree(model, model.parent / "base")
        (model / WEIGHTS).unlink()
        config = base | {"base_model_name_or_path": str(model.parent / "base")} | values
        (model / "adapter_config.json").write_text(json.dumps(config))

    return change


def a_broken_adapter(model: Path) -> None:
    an_adapter()(model)
    (model / "adapter_model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")


def a_foreign_adapter(model: Path) -> None:
    an_adapter()(model)
    save_file({"base_model.model.x.lora_A.weight": torch.zeros(2, 2)}, model / "adapter_model.safetensors")


def a_pickled_adapter(model: Path) -> None:
    an_adapter()(model)
    torch.save({}, model / "adapter_model.bin")


def an_adapter_of_itself(model: Path) -> None:
    an_adapter(base_model_name_or_path=str(model))(model)


def a_link(model: Path) -> None:
    (model / WEIGHTS).unlink()
    (model / WEIGHTS).symlink_to(model / "nowhere")


def foreign_tokenizer(model: Path) -> None:
    """A tokenizer with more tokens than the model has embeddings."""
    tokenizer = tiny.tokenizer()
    tokenizer.add_tokens([f"<extra{i}>" for i in range(50)])
    tokenizer.save_pretrained(model)


def no_pad(model: Path) -> None:
    tokenizer = tiny.tokenizer()
    tokenizer.pad_token = None
    tokenizer.save_pretrained(model)


def no_eos(model: Path) -> None:
    tokenizer = tiny.tokenizer(tiny.TEMPLATE.replace("<end>", "."))
    tokenizer.eos_token = None
    tokenizer.save_pretrained(model)


NO_MODEL, NO_TOKENIZER = "no loadable model", "no loadable tokenizer"
CODE = "needs code of its own, which is never run"
_FOLDERS: dict[str, tuple[Change, str | None]] = {
    "a good one": (lambda model: None, None),
    "nothing in it": (lambda model: [p.unlink() for p in model.iterdir()], r"config\.json: is missing"),
    "no configuration": (without(CONFIG), r"config\.json: is missing"),
    "a broken configuration": (content(CONFIG, b'{"model_type": '), r"config\.json: is not JSON"),
    "a configuration in UTF-16": (content(CONFIG, "{}".encode("utf-16")), r"config\.json: is not JSON"),
    "a configuration that is a list": (content(CONFIG, b"[]"), r"config\.json: is a JSON list"),
    "a configuration that nests endlessly": (content(CONFIG, b"[" * 100_000), r"config\.json: is not JSON"),
    "a kind of model that nobody knows": (edited(CONFIG, model_type="nobody"), NO_MODEL),
    "no kind of model": (edited(CONFIG, model_type=None, architectures=None), NO_MODEL),
    "a text for a number of layers": (edited(CONFIG, num_hidden_layers="two"), r"\(.*num_hidden_layers"),
    "a negative number of heads": (edited(CONFIG, num_attention_heads=-4), NO_MODEL),
    "heads that do not divide": (edited(CONFIG, num_attention_heads=5), "no loadable (?:model|tokenizer)"),
    "more layers than weights": (edited(CONFIG, num_hidden_layers=3), "the weights lack model.layers.2"),
    "another size than the weights": (edited(CONFIG, hidden_size=64), r"has the shape \[.*, its config\.json says"),
    "code of its own": (
        edited(CONFIG, model_type="own", auto_map={
            "AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}), CODE),
    "no weights": (without(WEIGHTS), r"has no model\.safetensors"),
    "weights that are a pickle": (a_pickle, r"has no model\.safetensors, only pytorch_model\.bin, a pickle"),
    "weights cut off": (truncated(0.6), NO_MODEL),
    "weights cut off in their header": (truncated(0.001), NO_MODEL),
    "empty weights": (content(WEIGHTS, b""), NO_MODEL),
    "weights that are a page": (content(WEIGHTS, b"<html>" * 99), NO_MODEL),
    "weights that are a pointer": (
        content(WEIGHTS, b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"), NO_MODEL),
    "weights that link to nothing": (a_link, r"has no model\.safetensors"),
    "a tensor too few": (weights(lambda t: t.pop("model.norm.weight")), r"the weights lack model\.norm\.weight"),
    "a tensor of another shape": (
        weights(lambda t: t.update({"model.norm.weight": torch.ones(7)})), r"model\.norm\.weight has the shape \[7\]"),
    "a tensor too many": (weights(lambda t: t.update({"\x1b[31mx": torch.ones(7)})), None),
    "an index": (indexed("model-00001-of-00001.safetensors"), None),
    "an index that is broken": (an_index(weight_map=5), r"index\.json: has no weight_map"),
    "an index of pickles": (indexed("pytorch_model.bin"), r"names 'pytorch_model\.bin', which is no safetensors"),
    "an index that climbs": (indexed("../x.safetensors"), r"names '\.\./x\.safetensors', which is no safetensors"),
    "an index of files that are not there": (indexed("other.safetensors"), r"has no other\.safetensors"),
    "no tokenizer": (without(TOKENIZER, TOKENIZER_CONFIG), NO_TOKENIZER),
    "a broken tokenizer": (content(TOKENIZER, b'{"version": "1.0"'), NO_TOKENIZER),
    "a tokenizer of another kind": (content(TOKENIZER, b'{"version": "1.0", "model": {"type": "X"}}'), NO_TOKENIZER),
    "a tokenizer that is a list": (content(TOKENIZER, b"[1]"), NO_TOKENIZER),
    "a broken tokenizer configuration": (content(TOKENIZER_CONFIG, b"{"), NO_TOKENIZER),
    "a tokenizer of another model": (foreign_tokenizer, "tokens go up to 308, and the model has 259 embeddings"),
    "no chat template": (chat_template(None), "the tokenizer has no chat template"),
    "a chat template that is broken": (chat_template("{% for m in %}"), "the chat template fails"),
    "a chat template that divides by 0": (chat_template("{{ 1 / 0 }}"), "the chat template fails"),
    "a chat template that wants a tool": (chat_template("{{ messages[0].tool.name }}"), "the chat template fails"),
    "a chat template that looks around": (
        chat_template("{{ ''.__class__.__mro__[1].__subclasses__() }}"), "the chat template"),
    "a chat template that never ends": (
        chat_template("{% for i in range(10**9) %}x{% endfor %}"), "the chat template fails"),
    "a chat template without the prompt": (chat_template("hello"), "leaves the user's words out"),
    "no pad token": (no_pad, None),
    "no end of turn": (no_eos, "a token that ends a turn"),
    "broken generation settings": (content("generation_config.json", b"{"), None),
    "an adapter without a base": (
        an_adapter(base_model_name_or_path=None), "names null as the adapter's base model"),
    "an adapter whose base is nowhere": (an_adapter(base_model_name_or_path="/nowhere"), "->"),
    "an adapter of itself": (an_adapter_of_itself, "is an adapter too"),
    "an adapter without weights": (an_adapter(), r"has no adapter_model\.safetensors"),
    "an adapter that is a pickle": (a_pickled_adapter, r"only adapter_model\.bin, a pickle"),
    "an adapter of nothing": (a_broken_adapter, "no loadable adapter"),
    "an adapter of another model": (a_foreign_adapter, "no loadable adapter"),
    "an adapter's configuration that is broken": (
        content("adapter_config.json", b"{"), r"adapter_config\.json: is not JSON"),
    "a path that is a file": (lambda model: (shutil.rmtree(model), model.write_text("x")), "is a file, not a model"),
    "a path that is nowhere": (shutil.rmtree, "there is no folder"),
}  # fmt: skip

CASES: list[Case] = [folder(name, change, says) for name, (change, says) in _FOLDERS.items()]
