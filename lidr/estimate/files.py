"""A model's files on this machine: how large it is and what it holds, without loading it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lidr.config import ModelConfig
from lidr.paths import resolve_model

_FP32 = 4
_ADAPTER_CONFIG = "adapter_config.json"
_ALL = ("all-linear",)
_NOT_ADAPTED = ("embed_tokens", "lm_head", "wte", "embed_in", "embed_out")
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack", ".onnx")


def local_folder(model: ModelConfig) -> Path | None:
    """The folder of a configured model, or of its snapshot in the hub's cache; None where neither is there."""
    path = Path(resolve_model(model.path))
    if path.is_dir():
        return path
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(model.path, revision=model.revision, local_files_only=True))
    except (OSError, ValueError):  # not in the cache, or no hub id
        return None


@dataclass(frozen=True)
class ModelFiles:
    """What the headers of a model's files say.

    shapes: of its weights, by name; of an adapter folder its base's.
    beside: bytes of the tokenizer and of all else that is saved with the weights.
    context: positions it was made for, None where its configuration does not say.
    """

    shapes: Mapping[str, tuple[int, ...]]
    beside: int
    context: int | None

    @property
    def parameters(self) -> int:
        return sum(_product(shape) for shape in self.shapes.values())

    def adapter(self, rank: int, targets: Sequence[str]) -> int:
        """Parameters of a LoRA adapter on the matrices that `lora.target_modules` names, none: all."""
        names = () if tuple(targets) in ((), _ALL) else tuple(targets)
        return sum(
            rank * sum(shape)
            for name, shape in self.shapes.items()
            if len(shape) == 2 and _is_target(name.removesuffix(".weight").rpartition(".")[2], names)
        )

    def saved(self, rank: int, targets: Sequence[str]) -> int:
        """Bytes of the model folder that training writes: fp32 weights, or with a rank above 0 an adapter."""
        weights = self.adapter(rank, targets) if rank else self.parameters
        return _FP32 * weights + self.beside

    def checkpoint(self, rank: int, targets: Sequence[str]) -> int:
        """Bytes of a training's checkpoint: what trains and Adam's two moments, fp32."""
        return 3 * _FP32 * (self.adapter(rank, targets) if rank else self.parameters)


def read(folder: Path) -> ModelFiles | None:
    """What a model folder holds; None where its weights are not there as safetensors."""
    base = _base(folder)
    if base is None:
        return None
    shapes = {name: shape for path in base.glob("*.safetensors") for name, shape in _shapes(path)}
    if not shapes:
        return None
    beside = sum(p.stat().st_size for p in folder.iterdir() if p.is_file() and p.suffix not in _WEIGHTS)
    return ModelFiles(shapes, beside, _context(base))


def _base(folder: Path) -> Path | None:
    config = _json(folder / _ADAPTER_CONFIG)
    if not config:
        return folder
    base = Path(str(config.get("base_model_name_or_path")))
    return base if base.is_dir() else None


def _shapes(path: Path) -> list[tuple[str, tuple[int, ...]]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            return [(name, tuple(file.get_slice(name).get_shape())) for name in file.keys()]  # noqa: SIM118
    except (SafetensorError, OSError):
        return []


def _context(folder: Path) -> int | None:
    config = _json(folder / "config.json")
    text = config.get("text_config")
    value = {**config, **(text if isinstance(text, dict) else {})}.get("max_position_embeddings")
    return value if isinstance(value, int) else None


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _is_target(module: str, names: Sequence[str]) -> bool:
    return module in names if names else module not in _NOT_ADAPTED


def _product(shape: Sequence[int]) -> int:
    result = 1
    for size in shape:
        result *= size
    return result
