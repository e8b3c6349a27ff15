"""No code comes in: not from pickles, not from model folders, not from configuration, not from YAML."""

from __future__ import annotations

import ast
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file

import lidr
from lidr.__main__ import main
from lidr.compose import check_hydra, compose_run, compose_sweep
from lidr.compose_safety import refuse_foreign_code
from lidr.config import Precision, read_config
from lidr.errors import ConfigError, LidrError
from lidr.models import load_config, load_model, load_tokenizer
from lidr.training.resume import resumable_step
from tests import tiny

SOURCES = sorted(Path(lidr.__file__).parent.rglob("*.py"))
CPU = torch.device("cpu")
MARK = Path("code-was-run")


class Evil:
    """A pickle of it leaves a file behind where it is read."""

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (MARK,)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    assert not MARK.exists()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny.save(tmp_path / "model")


def test_the_mark_is_left_where_such_a_pickle_is_read(tmp_path: Path) -> None:
    torch.save(Evil(), tmp_path / "evil.pt")
    torch.load(tmp_path / "evil.pt", weights_only=False)
    assert MARK.exists()
    MARK.unlink()


def _calls() -> Iterator[tuple[Path, ast.Call, str]]:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield path, node, ast.unparse(node.func)


def test_no_source_reads_a_pickle_or_runs_a_text() -> None:
    """`torch.load` says weights_only=True; classes of transformers say trust_remote_code=False."""
    names = [name for _, _, name in _calls()]
    assert len(names) > 5000
    forbidden = {"eval", "exec", "pickle.load", "pickle.loads", "yaml.load", "os.system", "joblib.load"}
    forbidden |= {"marshal.loads", "instantiate", "hydra.utils.instantiate", "__import__", "np.load"}
    assert not set(names) & forbidden
    loads = [ast.unparse(call) for _, call, name in _calls() if name == "torch.load"]
    assert loads
    assert all("weights_only=True" in text for text in loads)
    hub = [
        ast.unparse(call)
        for _, call, name in _calls()
        if name.startswith("Auto") and name.endswith(".from_pretrained")
    ]
    assert len(hub) == 3
    assert all("trust_remote_code=False" in text for text in hub)
    assert not [p for p, call, _ in _calls() for k in call.keywords if k.arg == "shell"]


def test_code_that_comes_with_a_model_is_never_run(model: Path) -> None:
    code = f"from pathlib import Path\nPath({str(MARK.resolve())!r}).touch()\n"
    for name in ("configuration_own.py", "modeling_own.py", "tokenization_own.py"):
        (model / name).write_text(code)
    config = json.loads((model / "config.json").read_text())
    own = {
        "AutoConfig": "configuration_own.OwnConfig",
        "AutoModelForCausalLM": "modeling_own.Own",
        "AutoTokenizer": ["tokenization_own.Own", None],
    }
    (model / "config.json").write_text(json.dumps(config | {"model_type": "own", "auto_map": own}))
    settings = json.loads((model / "tokenizer_config.json").read_text())
    settings |= {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": own["AutoTokenizer"]}}
    (model / "tokenizer_config.json").write_text(json.dumps(settings))
    for load in (load_config, load_tokenizer, lambda path: load_model(path, Precision.FP32, CPU)):
        with pytest.raises(LidrError, match=r"needs code of its own, which is never run\) ->"):
            load(str(model))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "consolidated.00.pth", "model.ckpt"])
def test_a_model_that_is_a_pickle_is_refused_before_anything_is_read(model: Path, name: str) -> None:
    (model / "model.safetensors").unlink()
    torch.save({"x": Evil()}, model / name)
    with pytest.raises(
        LidrError, match=rf"only {name}, a pickle, which can run code and is never loaded -> convert"
    ):
        load_model(str(model), Precision.FP32, CPU)


def test_pickles_beside_the_weights_are_left_alone(model: Path) -> None:
    for name in ("pytorch_model.bin", "training_args.bin", "optimizer.pt", "rng_state.pth"):
        torch.save(Evil(), model / name)
    assert load_model(str(model), Precision.FP32, CPU).config.model_type == "llama"
    load_tokenizer(str(model))


def test_an_index_of_pickles_is_refused(model: Path) -> None:
    names = dict.fromkeys(load_file(model / "model.safetensors"), "pytorch_model-1.bin")
    torch.save({"x": Evil()}, model / "pytorch_model-1.bin")
    (model / "model.safetensors").unlink()
    (model / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))
    with pytest.raises(LidrError, match="is no safetensors file beside it"):
        load_model(str(model), Precision.FP32, CPU)


def test_an_adapter_that_is_a_pickle_is_refused(model: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    shutil.copytree(model, adapter)
    (adapter / "model.safetensors").unlink()
    values = {
        "peft_type": "LORA",
        "r": 2,
        "target_modules": ["q_proj"],
        "base_model_name_or_path": str(model),
    }
    (adapter / "adapter_config.json").write_text(json.dumps(values))
    torch.save({"x": Evil()}, adapter / "adapter_model.bin")
    with pytest.raises(LidrError, match=r"only adapter_model\.bin, a pickle"):
        load_model(str(adapter), Precision.FP32, CPU)


def test_a_checkpoint_that_names_code_is_refused(tmp_path: Path) -> None:
    torch.save({"lidr": Evil()}, tmp_path / "last.ckpt")
    with pytest.raises(LidrError, match=r"last\.ckpt: not a readable checkpoint .* -> delete it"):
        resumable_step(tmp_path / "last.ckpt", tmp_path / "metrics.jsonl", "key")


def test_a_run_directory_holds_no_pickle_that_is_read() -> None:
    """Lightning's own checkpoint is read with weights_only=True too."""
    source = (Path(lidr.__file__).parent / "training" / "run.py").read_text(encoding="utf-8")
    fits = [ast.unparse(call) for path, call, name in _calls() if name.endswith("trainer.fit")]
    assert len(fits) == 1
    assert "weights_only=True" in fits[0]
    assert fits[0].split("(")[0] in source


@pytest.mark.parametrize(
    "override",
    ["+engine._target_=os.system", "++model._target_=os.system", "+_target_=os.system", "+objective._args_=[1]",
     "+evaluation.lab.prompts._target_=os.system", "+training._partial_=true"],
)  # fmt: skip
def test_a_class_is_no_key_of_a_configuration(override: str) -> None:
    with pytest.raises(ConfigError, match="unknown key"):
        compose_run([override])


TARGETS = [
    "hydra.launcher._target_=os.system",
    "hydra.sweeper._target_=builtins.print",
    "+hydra.callbacks.x._target_=os.getcwd",
    "+hydra.callbacks.x={_target_:os.getcwd}",
    "+hydra.launcher.inner={_target_:os.getcwd}",
    "+hydra.job_logging.handlers.x.class=os.system",
    "+hydra.job_logging.formatters.x.()=os.getcwd",
    "hydra.launcher._target_=${oc.env:PATH}",
]


@pytest.mark.parametrize("override", TARGETS)
def test_hydra_is_given_nothing_to_instantiate(override: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        compose_sweep(["seed=1,2", override])
    with pytest.raises(ConfigError):
        check_hydra([override])
    assert main(["run", "-m", "seed=1,2", override, f"paths.outputs={tmp_path}/outputs"]) == 2
    assert main(["run", "--cfg", "job", override]) == 2
    assert not (tmp_path / "outputs").exists()


def test_a_file_in_the_working_folder_gives_hydra_nothing_either(tmp_path: Path) -> None:
    local = tmp_path / "conf" / "local" / "default.yaml"
    local.parent.mkdir(parents=True)
    callback = f"_target_: pathlib.Path.touch\n      _args_: [{MARK}]"
    local.write_text(f"# @package _global_\nhydra:\n  callbacks:\n    x:\n      {callback}\n")
    for words in (["run", "-m", "seed=1,2"], ["run", "--help"], ["run", "--cfg", "all"]):
        assert main(words) == 2


@pytest.mark.parametrize(
    "section",
    [
        {"launcher": {"setup": ["touch /tmp/x"]}},
        {"launcher": {"partition": "gpu\ntouch /tmp/x"}},
        {"launcher": {"additional_parameters": {"mail-user": "me\ntouch /tmp/x"}}},
        {"launcher": {"additional_parameters": {"x\ntouch": "y"}}},
        {"launcher": {"gres": ["gpu", "a\rb"]}},
        {"sweeper": {"custom_search_space": "os.system"}},
        {"sweeper": {"sampler": {"_target_": "os.system"}}},
        {"sweeper": {"sampler": {"_target_": "optuna.samplers.x.y"}}},
        {"sweeper": {"_target_": "hydra_plugins.hydra_optuna_sweeper._impl.instantiate"}},
    ],
)
def test_a_cluster_or_a_search_is_given_no_commands(section: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        refuse_foreign_code(OmegaConf.create(section))


def test_a_clusters_own_values_are_allowed() -> None:
    launcher = {
        "_target_": "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher",
        "setup": None,
    }
    launcher |= {"partition": "gpu", "additional_parameters": {"mail-user": "me@there"}}  # type: ignore[dict-item]
    target = "hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper"
    sweeper = {
        "_target_": target,
        "sampler": {"_target_": "optuna.samplers.TPESampler"},
        "custom_search_space": None,
    }
    refuse_foreign_code(OmegaConf.create({"launcher": launcher, "sweeper": sweeper}))


def test_launchers_that_come_with_hydra_are_allowed() -> None:
    assert len(compose_sweep(["seed=1,2", "hydra/launcher=joblib"])) == 2
    assert len(compose_sweep(["seed=1,2", "hydra.sweeper.max_batch_size=1"])) == 2


def test_yaml_makes_no_objects(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        f"name: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path [{MARK}]]\n"
    )
    with pytest.raises(LidrError, match="not a readable configuration"):
        read_config(path)
