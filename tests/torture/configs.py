"""Configurations that are not what they should be: on the command line, in files, and in what Hydra reads itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from lidr.compose import compose_run, compose_sweep
from lidr.config import read_config, to_yaml
from lidr.preflight import preflight
from tests.torture.case import Case, Given

KEY = "sk-a-sentinel-that-no-file-may-hold"
OPENAI = ("engine=openai", "engine.endpoint.model=M", "iterations=0")


def typed(name: str, *overrides: str, says: str | None, command: str = "check") -> Case:
    """Overrides."""

    def prepare(_: Path, __: ExitStack) -> Given:
        return Given([command, *overrides], lambda: compose(overrides), variables={"OPENAI_API_KEY": KEY})

    return Case(f"overrides: {name}", prepare, says)


def compose(words: Sequence[str]) -> None:
    """What the command line does with overrides before anything else."""
    overrides = [word for word in words if word != "-m"]
    if len(overrides) < len(words):
        compose_sweep(overrides)
    else:
        preflight(compose_run(overrides))


def written(
    name: str, files: Mapping[str, bytes], *overrides: str, says: str | None, command: str = "check"
) -> Case:
    """Files in the folder `conf` where the command is typed."""

    def prepare(folder: Path, _: ExitStack) -> Given:
        for file, content in files.items():
            path = folder / "conf" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        variables = {"OPENAI_API_KEY": KEY, "WANDB_API_KEY": KEY}
        return Given([command, *overrides], lambda: compose(overrides), variables=variables)

    return Case(f"conf: {name}", prepare, says)


def experiment(name: str, content: str | bytes, *, says: str | None, words: Sequence[str] = ()) -> Case:
    """An experiment of the user's own."""
    data = content if isinstance(content, bytes) else b"# @package _global_\n" + content.encode()
    return written(
        name,
        {"experiment/mine.yaml": data},
        "experiment=mine",
        *words,
        says=says,
        command="run" if "-m" in words else "check",
    )


def stored(name: str, content: bytes | None, says: str) -> Case:
    """A run's config.yaml, read by `lidr status`."""

    def prepare(folder: Path, _: ExitStack) -> Given:
        run = folder / "run"
        run.mkdir()
        (run / "status.json").write_text('{"status": "done"}')
        path = run / "config.yaml"
        path.write_bytes(content) if content is not None else path.mkdir()
        return Given(["status", "."], lambda: read_config(path))

    return Case(f"config.yaml: {name}", prepare, says)


_RANGE = "is out of range -> it must be"
_NAME = "cannot name a folder -> type"
_OVERRIDES: dict[str, tuple[tuple[str, ...], str]] = {
    "nothing": (("",), "cannot be read"),
    "no key": (("=5",), "->"),
    "a key without a value": (("objective.beta",), "cannot be read"),
    "brackets without end": (("languages.unseen=" + "[" * 300,), "cannot be read"),
    "quotes without end": (("name='x",), "cannot be read"),
    "a key that is not there": (("objective.betta=1",), "did you mean 'beta'"),
    "a key of 100,000 letters": (("objective." + "b" * 100_000 + "=1",), "unknown key"),
    "a section for a value": (("objective.beta={a: 1}",), "->"),
    "a list for a number": (("objective.beta=[1]",), "->"),
    "a group that is taken out": (("~name",), "->"),
    "a model of no name": (("model.path=''",), r"model\.path: names no model"),
    "not a number": (("objective.beta=nan",), _RANGE),
    "an infinite number": (("training.lr=inf",), _RANGE),
    "a beta whose square is 0": (("objective.beta=1e-300",), _RANGE),
    "a beta whose square is too large": (("objective.beta=1e300",), _RANGE),
    "a seed no generator takes": (("seed=99999999999999999999",), _RANGE),
    "a seed of 5,000 digits": (("seed=" + "9" * 5000,), "->"),
    "iterations without end": (("iterations=1000000000",), _RANGE),
    "epochs without end": (("training.epochs=1000000000",), _RANGE),
    "Adam's betas out of range": (("training.adam_betas=[2,0.9]",), _RANGE),
    "Adam's betas as one": (("training.adam_betas=[0.9]",), "->"),
    "a million processes": (("engine.processes=1000000",), _RANGE),
    "a name that climbs": (("name=../../x",), _NAME),
    "a name from the root": (("name=/tmp/x",), _NAME),
    "a name that is hidden": (("name=.ssh",), _NAME),
    "no name": (("name=''",), _NAME),
    "a name of 300 letters": (("name=" + "x" * 300,), _NAME),
    "a model name that climbs": (("model.name=../../x",), _NAME),
    "a language nobody knows": (("languages.unseen=[xx]",), "unknown language code 'xx'"),
    "a language that climbs": (("languages.non_dominant=['../../x']",), "unknown language code '../../x'"),
    "a language twice": (("languages.non_dominant=[es,es]",), "is named more than once"),
    "no language": (("languages.non_dominant=[]",), r"languages\.non_dominant: is empty"),
    "a model that is a file": ((f"model.path={__file__}",), "is a file, not a model folder"),
    "a variable that is not there": (("name=${oc.env:LIDR_NO_SUCH_VARIABLE}",), "LIDR_NO_SUCH_VARIABLE"),
    "a value that names itself": (("name=${name}",), "->"),
    "the key of a server": (
        (*OPENAI, "model.system_prompt=${oc.env:OPENAI_API_KEY}"),
        r"model\.system_prompt: holds the secret of the environment variable OPENAI_API_KEY",
    ),
    "a key for its variable": (
        (*OPENAI, f"engine.endpoint.key_variable={KEY}"),
        r"engine\.endpoint\.key_variable: is no name of an environment variable",
    ),
    "a password in an address": (
        (*OPENAI, "engine.endpoint.url='http://me:secret@127.0.0.1/v1'"),
        "holds more than an address",
    ),
    "a file as an address": ((*OPENAI, "engine.endpoint.url='file:///etc/passwd'"), "is no web address"),
    "a class to run": (("+engine._target_=os.system",), "unknown key"),
    "a class to run in a section that is free": (("+evaluation.lab._target_=os.system",), "unknown key"),
    "characters that act on a terminal": (("name=\x1b[31mred",), "->"),
    "bytes that are no text": (("model.system_prompt='\udcff\udcfe'",), "->"),
}
_MULTIRUN: dict[str, tuple[tuple[str, ...], str]] = {
    "a launcher of another's": (("-m", "hydra.launcher._target_=os.system", "seed=1,2"), "would be run"),
    "a sweeper of another's": (("-m", "hydra.sweeper._target_=subprocess.call", "seed=1,2"), "would be run"),
    "a callback": (("-m", "+hydra.callbacks.x._target_=os.getcwd", "seed=1,2"), "would be run"),
    "a log handler": (
        ("-m", "+hydra.job_logging.handlers.x.class=os.system", "seed=1,2"),
        "would be run",
    ),
    "one bad job of two": (("-m", "objective.beta=0.1,nan"), _RANGE),
}
_EXPERIMENTS: dict[str, tuple[str | bytes, str | None]] = {
    "broken YAML": ("name: [a\nseed: 1\n", r"mine\.yaml: not a readable configuration \(line \d+"),
    "a tab": ("\tname: x\n", r"mine\.yaml: not a readable configuration \(line 2"),
    "UTF-16": ("name: x\n".encode("utf-16"), "not a readable configuration"),
    "bytes that are no text": (b"# @package _global_\nname: \xff\xfe\n", "not a readable configuration"),
    "a NUL byte": (b"# @package _global_\nname: a\0b\n", "not a readable configuration"),
    "a list": ("- a\n- b\n", "->"),
    "endless nesting": ("name: " + "[" * 1200, "->"),
    "an unknown key": ("objectiv:\n  beta: 1\n", "->"),
    "a date as a name": ("name: 2024-01-01\n", None),
    "a date as a number": ("seed: 2024-01-01\n", "has the wrong type"),
    "a number of 5,000 digits": ("seed: " + "9" * 5000 + "\n", "->"),
    "an object of Python": ("name: !!python/object/apply:os.getcwd []\n", "->"),
    "a class to run": ("model:\n  _target_: os.system\n", "->"),
    "a benchmark that climbs": ("evaluation:\n  ../../x: ${evaluation.lab}\n", _NAME),
    "a benchmark named as a file of ours": (
        "evaluation:\n  scores.json: ${evaluation.lab}\n",
        "something else",
    ),
    "null for a section": ("objective: null\n", "->"),
    "a number for a section": ("objective: 5\n", "->"),
    "half a surrogate pair": ('name: "\\ud800"\n', "->"),
    "the key of W&B": ("model:\n  system_prompt: ${oc.env:WANDB_API_KEY}\n", "holds the secret"),
}
_CALLBACK = "hydra:\n  callbacks:\n    x:\n      _target_: os.getcwd\n"
_GOOD = to_yaml(compose_run(["experiment=lab"])).encode()
_STORED: dict[str, tuple[bytes | None, str]] = {
    "nothing": (b"", "not a mapping of keys to values"),
    "broken YAML": (_GOOD + b"\nname: [a\n", r"not a readable configuration \(line \d+"),
    "cut off": (_GOOD[: len(_GOOD) // 2], r"config\.yaml: "),
    "endless nesting": (b"name: " + b"[" * 1200, "not a readable configuration"),
    "bytes that are no text": (b"\xff\xfe\x00", "not a readable configuration"),
    "a text": (b"hello", "not a mapping of keys to values"),
    "another program's": (b"services:\n  web: {image: x}\n", "unknown key"),
    "a date": (_GOOD.replace(b"name: lab\n", b"name: 2024-01-01\n", 1), "neither text nor number"),
    "an object of Python": (b"name: !!python/object/apply:os.getcwd []\n", "not a readable configuration"),
    "a folder": (None, "not a readable configuration"),
}

CASES: list[Case] = [
    *(typed(name, *words, says=says) for name, (words, says) in _OVERRIDES.items()),
    *(typed(name, *words, says=says, command="run") for name, (words, says) in _MULTIRUN.items()),
    *(experiment(name, content, says=says) for name, (content, says) in _EXPERIMENTS.items()),
    experiment("a callback of another's", _CALLBACK, says="would be run", words=("-m", "seed=1,2")),
    written(
        "a callback that is always there",
        {"local/default.yaml": b"# @package _global_\n" + _CALLBACK.encode()},
        "-m",
        "seed=1,2",
        says="would be run",
        command="run",
    ),
    *(stored(name, content, says) for name, (content, says) in _STORED.items()),
]
