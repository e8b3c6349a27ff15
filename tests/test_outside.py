"""What a run leaves is of use outside this project: transformers loads M_t, TRL trains its pairs."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch

from lidr.loop import RunResult
from lidr.paths import BUILTIN_LAB, resolve_model

pytestmark = pytest.mark.xdist_group("loop")


def test_the_model_loads_and_answers_with_transformers_alone(looped: RunResult) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = looped.run.iteration(1) / "model"
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Tom has 3 apples."}], tokenize=False, add_generation_prompt=True
    )
    ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
    output = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=5, do_sample=False)
    assert output.shape[1] > ids.shape[1]


def test_the_pairs_load_with_datasets_and_train_a_step_in_trl(looped: RunResult, tmp_path: Path) -> None:
    from datasets import load_dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer

    path = looped.run.iteration(1) / "pairs" / "pairs.jsonl"
    dataset = load_dataset("json", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    assert {"prompt", "chosen", "rejected"} <= set(dataset.column_names)
    model = resolve_model(BUILTIN_LAB)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options = DPOConfig(
            output_dir=str(tmp_path / "trl"),
            max_steps=1,
            per_device_train_batch_size=4,
            report_to=[],
            use_cpu=True,
            bf16=False,
            disable_tqdm=True,
            logging_steps=1,
        )
        trainer = DPOTrainer(
            model=AutoModelForCausalLM.from_pretrained(model),
            args=options,
            train_dataset=dataset,
            processing_class=AutoTokenizer.from_pretrained(model),
        )
        loss = trainer.train().training_loss
    assert loss == pytest.approx(0.693147, abs=1e-3)
