"""One process: TRL's DPOTrainer on the same pairs, with the same objective, optimizer and precision.

python -m experiments.bench.one_run_trl spec.json measured.json

`defaults` leaves gradient checkpointing on, the reference online as a frozen copy, and sampling random.
Tuned: no checkpointing, the reference's log-probs precomputed before the clock starts, pairs grouped by
length. Batches of text come in TRL's conversational format; TRL tokenises them itself.
"""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoTokenizer, PreTrainedTokenizerBase, TrainerCallback
from trl import DPOConfig, DPOTrainer

from experiments.bench import pairs as pair_files
from experiments.bench.spec import (
    FirstStep,
    Measured,
    RunSpec,
    Setting,
    StepClock,
    counted,
    peak_bytes,
    read_spec,
    release,
    write_measured,
)

LORA_TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class Begin(TrainerCallback):
    """When the first optimizer step begins; its batches are loaded by then, as they are for lidr."""

    def __init__(self) -> None:
        self.at = math.nan

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Keeps the first time."""
        if math.isnan(self.at):
            self.at = time.perf_counter()


def run(spec: RunSpec) -> Measured:
    """The check's step where there is one, then the training that is measured."""
    check = None
    if spec.check:
        check = _first_step(_train(spec, spec.check, Begin(), log_every_step=True)[0], spec, spec.check)
        release()
    begin, warmup = Begin(), spec.setting.warmup
    with StepClock() as clock:
        logs = _train(spec, spec.pairs, begin, log_every_step=warmup > 0)
    steps = counted(begin.at, clock.ends, warmup)
    return Measured(
        seconds=sum(steps),
        reference_seconds=0.0,
        step_seconds=steps,
        pairs=len(steps) * spec.setting.pairs_per_step,
        tokens=_tokens(logs, warmup),
        peak_bytes=peak_bytes(),
        check=check,
        notes={"all_tokens": _tokens(logs, 0), "first": logs[0]["loss"]},
    )


def _tokens(logs: list[dict[str, Any]], warmup: int) -> int:
    """`num_tokens` counts attended tokens since the start, a prompt in both rows."""
    totals = [int(log["num_tokens"]) for log in logs if "num_tokens" in log]
    return totals[-1] - (totals[warmup - 1] if warmup else 0)


def _train(spec: RunSpec, pairs: str, begin: Begin, *, log_every_step: bool) -> list[dict[str, Any]]:
    """Trains once over the pairs; returns what TRL logged."""
    setting = spec.setting
    tokenizer = AutoTokenizer.from_pretrained(setting.model)
    trainer = DPOTrainer(
        model=setting.model,
        args=_config(spec, log_every_step=log_every_step),
        train_dataset=_dataset(Path(pairs), setting, tokenizer),
        processing_class=tokenizer,
        callbacks=[begin],
        peft_config=_lora() if setting.lora else None,
    )
    trainer.train()
    return [log for log in trainer.state.log_history if "num_tokens" in log]


def _config(spec: RunSpec, *, log_every_step: bool) -> DPOConfig:
    setting = spec.setting
    bf16 = setting.precision == "bf16"
    tuned: dict[str, Any] = {
        "gradient_checkpointing": False,
        "precompute_ref_log_probs": True,
        "train_sampling_strategy": "group_by_length",
        # Else transformers 5 drops the length column before it looks for it, and stops.
        "remove_unused_columns": False,
    }
    return DPOConfig(
        output_dir=spec.folder,
        per_device_train_batch_size=spec.per_device,
        gradient_accumulation_steps=setting.pairs_per_step // spec.per_device,
        num_train_epochs=1,
        loss_type=["sigmoid", "sft"],
        loss_weights=[1.0, setting.alpha],
        beta=setting.beta,
        max_length=setting.max_length,
        learning_rate=setting.lr,
        lr_scheduler_type="constant",
        weight_decay=0.0,
        max_grad_norm=1.0,
        bf16=bf16,
        use_cpu=setting.device == "cpu",
        model_init_kwargs={"dtype": "bfloat16" if bf16 and setting.lora else "float32"},
        seed=setting.seed,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        **({"logging_steps": 1} if log_every_step else {"logging_strategy": "epoch"}),
        **({} if spec.defaults else tuned),
    )


def _lora() -> LoraConfig:
    return LoraConfig(
        r=16, lora_alpha=32, lora_dropout=0.0, target_modules=LORA_TARGETS, task_type="CAUSAL_LM"
    )


def _dataset(path: Path, setting: Setting, tokenizer: PreTrainedTokenizerBase) -> Dataset:
    system = [{"role": "system", "content": setting.system_prompt}] if setting.system_prompt else []
    records = pair_files.read(path)
    lengths = [_longest(record, tokenizer, setting.max_length) for record in records]
    return Dataset.from_list(
        [
            {
                "prompt": [*system, {"role": "user", "content": record["prompt"]}],
                "chosen": [{"role": "assistant", "content": record["chosen"]}],
                "rejected": [{"role": "assistant", "content": record["rejected"]}],
                "length": length,
            }
            for record, length in zip(records, lengths, strict=True)
        ]
    )


def _longest(record: dict[str, str], tokenizer: PreTrainedTokenizerBase, max_length: int) -> int:
    """Tokens of a pair's longer row, without the template's."""
    texts = [record[key] for key in ("prompt", "chosen", "rejected")]
    prompt, chosen, rejected = map(len, tokenizer(texts, add_special_tokens=False)["input_ids"])
    return min(prompt + max(chosen, rejected), max_length)


def _first_step(log: dict[str, Any], spec: RunSpec, pairs: str) -> FirstStep:
    """TRL logs no term alone: the DPO term follows from the mean margin, the NLL from the mean of logp_w."""
    margin, nll_sum = log["rewards/margins"], -log["logps/chosen"] * len(pair_files.read(Path(pairs)))
    return FirstStep(
        total=log["loss"],
        dpo=-torch.nn.functional.logsigmoid(torch.tensor(margin, dtype=torch.float64)).item(),
        nll=nll_sum / spec.check_tokens,
        grad_norm=log["grad_norm"],
        tokens=int(log["num_tokens"]),
    )


if __name__ == "__main__":
    write_measured(Path(sys.argv[2]), run(read_spec(Path(sys.argv[1]))))
