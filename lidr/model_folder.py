"""What a model folder on this machine holds, looked at before anything is loaded from it.

Weights are read from safetensors alone. A pickle (``pytorch_model.bin``, ``adapter_model.bin``) can run code when it is
read, so a folder that has nothing else, or whose index names one, is refused.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lidr.errors import LidrError
from lidr.printable import short

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
CONFIG = "config.json"
_SAFETENSORS = ".safetensors"
_INDEX = "model.safetensors.index.json"
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_CONVERT = (
    "convert it: AutoModelForCausalLM.from_pretrained(...).save_pretrained(<folder>) writes safetensors"
)


def is_adapter(path: str) -> bool:
    """Whether a model folder holds a peft adapter instead of whole weights."""
    return (Path(path) / ADAPTER_CONFIG).is_file()


def adapter_config(path: str) -> dict[str, Any]:
    """What an adapter folder says of itself.

    Raises:
        LidrError: it is not readable, or names no base model.
    """
    where = Path(path) / ADAPTER_CONFIG
    config = read_json(where)
    base = config.get("base_model_name_or_path")
    if not isinstance(base, str) or not base.strip():
        raise LidrError(
            f"names {short(json.dumps(base))} as the adapter's base model",
            where=str(where),
            instead='set "base_model_name_or_path" there to the base\'s folder or hub id',
        )
    if is_adapter(base):
        raise LidrError(
            f"the adapter's base {short(base)!r} is an adapter too",
            where=str(where),
            instead="name the whole model there, or give the merged model",
        )
    return config


def check(path: str) -> None:
    """Whether a folder could be loaded, as far as names and headers say; what is no folder here passes.

    Raises:
        LidrError: it is a file; its configuration is not readable; or its weights are missing, or a pickle.
    """
    folder = Path(path)
    if not folder.is_dir():
        if folder.is_file():
            raise LidrError(
                "is a file, not a model folder", where=short(path), instead="name the folder it lies in"
            )
        return
    if is_adapter(path):
        base = adapter_config(path)["base_model_name_or_path"]
        _check_weights(folder, [ADAPTER_WEIGHTS])
        check(base)
        return
    read_json(folder / CONFIG)
    index = folder / _INDEX
    has_whole = (folder / "model.safetensors").is_file()
    _check_weights(folder, ["model.safetensors"] if has_whole or not index.exists() else _indexed(index))


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file of a model folder.

    Raises:
        LidrError: there is none.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LidrError("is missing", where=str(path), instead="name a whole model folder") from None
    except OSError as error:
        raise LidrError(
            f"cannot be read ({error.strerror})", where=str(path), instead="mend its permissions or kind"
        ) from None
    except (ValueError, RecursionError) as error:
        raise LidrError(
            f"is not JSON ({short(error)})", where=str(path), instead="copy the model folder again"
        ) from None
    if not isinstance(value, dict):
        raise LidrError(
            f"is a JSON {type(value).__name__}, not an object",
            where=str(path),
            instead="copy the model folder again",
        )
    return value


def _indexed(index: Path) -> list[str]:
    """The files that an index names, each beside it and in safetensors."""
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict) or not names or not all(isinstance(n, str) for n in names.values()):
        raise LidrError("has no weight_map", where=str(index), instead="copy the model folder again")
    for name in names.values():
        if Path(name).name != name or not name.endswith(_SAFETENSORS):
            raise LidrError(
                f"names {short(name)!r}, which is no safetensors file beside it",
                where=str(index),
                instead=_CONVERT,
            )
    return sorted(set(names.values()))


def _check_weights(folder: Path, names: list[str]) -> None:
    missing = [name for name in names if not (folder / name).is_file()]
    if not missing:
        return
    pickles = sorted(p.name for p in folder.iterdir() if p.suffix in _PICKLES)
    if pickles:
        raise LidrError(
            f"has no {missing[0]}, only {short(pickles[0])}, a pickle, which can run code and is never loaded",
            where=str(folder),
            instead=_CONVERT,
        )
    raise LidrError(
        f"has no {short(missing[0])}",
        where=str(folder),
        instead="name a whole model folder, or copy it again",
    )
