"""The cases: a model in a precision, its pairs of a round, and lidr's configuration for it.

SmolLM2's chat template ends an answer with its end-of-turn token and a newline. lidr trains on the answer up
to the end-of-turn token, TRL on the newline too. So that both see the same tokens, both get a copy of the
model folder (links, but for the template) that leaves this last newline out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from experiments.bench import pairs as p
from experiments.bench.spec import Setting
from lidr.chat import ChatFormat
from lidr.compose import compose_run
from lidr.paths import BUILTIN_LAB, resolve_model

ROOT = Path(__file__).resolve().parents[2]
SMOLLM2 = ROOT / "models" / "SmolLM2-135M-Instruct"
_NEWLINE = "'<|im_end|>' + '\n'}}"
_NO_LAST_NEWLINE = (
    "'<|im_end|>' }}{% if not (loop.last and message['role'] == 'assistant') %}{{ '\n' }}{% endif %}"
)


@dataclass(frozen=True)
class Case:
    """A model in a precision.

    Attributes:
        steps: optimizer steps that are measured, unless asked otherwise; five rounds of all cases are to take
            about an hour on 2 cores.
        groups: lidr's config groups.
        tuned_per_device: pairs a forward pass in TRL's fastest setting, see `train.py --scan`.
    """

    name: str
    precision: str
    pairs_per_step: int
    steps: int
    groups: tuple[str, ...]
    tuned_per_device: int

    @property
    def is_lab(self) -> bool:
        """Whether the pairs are the lab's own."""
        return self.name.startswith("lab")

    def setting(self, outputs: Path) -> Setting:
        """What the contestants share; makes the model folder where it is not there."""
        model = resolve_model(BUILTIN_LAB) if self.is_lab else str(smollm2_folder(outputs / "models"))
        system = compose_run(self.groups).model.system_prompt
        return Setting(
            model=model, precision=self.precision, pairs_per_step=self.pairs_per_step, system_prompt=system
        )

    def draw(self, steps: int, seed: int, setting: Setting, folder: Path) -> Drawn:
        """Writes a round's pairs, all from one seed."""
        rng = np.random.default_rng(seed)
        tokenizer = AutoTokenizer.from_pretrained(setting.model)
        count = steps * self.pairs_per_step
        if self.is_lab:
            check, measured = p.lab_check_pairs(rng), p.lab_pairs(count, rng)
        else:
            words = p.Words(tokenizer)
            check = p.check_pairs(words, rng)
            measured = p.paper_like(words, p.draw_lengths(count, rng), rng)
        return Drawn(
            check=p.write(folder / "check.jsonl", check),
            pairs=p.write(folder / "pairs.jsonl", measured),
            check_chosen=chosen_tokens(check, tokenizer, setting.system_prompt),
            check_longest=longest(check, tokenizer),
        )


@dataclass(frozen=True)
class Drawn:
    """A round's files, and the check's chosen tokens and longer row's tokens by language."""

    check: Path
    pairs: Path
    check_chosen: dict[str, int]
    check_longest: dict[str, int]


def chosen_tokens(
    records: list[p.Record], tokenizer: PreTrainedTokenizerBase, system_prompt: str | None
) -> dict[str, int]:
    """|y_w| by language, end of turn included."""
    ids = ChatFormat(tokenizer, system_prompt).batch_response_ids([r["chosen"] for r in records])
    return {record["language"]: len(tokens) for record, tokens in zip(records, ids, strict=True)}


def longest(records: list[p.Record], tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    """Tokens of a pair's longer row without the template's, by language: what TRL groups by."""
    found = {}
    for record in records:
        texts = [record[key] for key in ("prompt", "chosen", "rejected")]
        prompt, chosen, rejected = map(len, tokenizer(texts, add_special_tokens=False)["input_ids"])
        found[record["language"]] = prompt + max(chosen, rejected)
    return found


def smollm2_folder(parent: Path) -> Path:
    """SmolLM2 with a template that both trainers end answers alike with.

    Raises:
        SystemExit: the model is not there.
    """
    if not (SMOLLM2 / "model.safetensors").is_file():
        raise SystemExit(f"{SMOLLM2} is not there: type make smollm2")
    folder = parent / SMOLLM2.name
    folder.mkdir(parents=True, exist_ok=True)
    for file in SMOLLM2.iterdir():
        target = folder / file.name
        target.unlink(missing_ok=True)
        if file.name == "chat_template.jinja":
            target.write_text(_same_end(file.read_text(encoding="utf-8")), encoding="utf-8")
        else:
            target.symlink_to(file)
    return folder


def _same_end(template: str) -> str:
    spaced = template.replace("'<|im_end|>' + '\n'}}", _NEWLINE)
    if _NEWLINE not in spaced:
        raise SystemExit("SmolLM2's chat template has changed: see experiments/bench/cases.py")
    return spaced.replace(_NEWLINE, _NO_LAST_NEWLINE)


_SMOLLM2 = ("model=smollm2_135m", "languages=en_es_ru_de_fr")
_LAB = ("model=lab", "languages=lab")
# What `--scan` found (SmolLM2, bf16, 2 cores, 1 step a run): 1 pair a forward pass 20 s/step and 4.0 GiB, 2 pairs
# 23 s and 6.0 GiB, 4 pairs 35 s (41 s with other work on the machine) and 10.4 GiB. One pair is fastest and
# smallest: nothing is padded to another pair, and two rows of hundreds of tokens fill the matrix products.
# The lab's rows are short: there a step goes through at once.
CASES = {
    case.name: case
    for case in (
        Case("smollm2-bf16", "bf16", 4, 3, _SMOLLM2, tuned_per_device=1),
        Case("smollm2-fp32", "fp32", 4, 1, _SMOLLM2, tuned_per_device=1),
        Case("lab-bf16", "bf16", 16, 8, _LAB, tuned_per_device=16),
        Case("lab-fp32", "fp32", 16, 8, _LAB, tuned_per_device=16),
    )
}


def lidr_overrides(groups: tuple[str, ...], setting: Setting, own: list[str]) -> list[str]:
    """lidr's defaults, with what the comparison fixes; `own` are a contestant's overrides."""
    return [
        *groups,
        f"model.path='{setting.model}'",
        f"lora={'r16' if setting.lora else 'none'}",
        "tracking=none",
        f"trainer={'gpu' if setting.device == 'cuda' else 'cpu'}",
        f"trainer.precision={setting.precision}",
        f"trainer.threads={setting.threads}",
        "objective=dpo",
        f"objective.beta={setting.beta}",
        f"objective.alpha={setting.alpha}",
        "objective.nll_norm=token",
        f"training.global_batch={setting.pairs_per_step}",
        f"training.max_length={setting.max_length}",
        f"training.lr={setting.lr}",
        "training.schedule=constant",
        "training.warmup_ratio=0",
        "training.checkpoint_steps=1000000",
        f"seed={setting.seed}",
        *own,
    ]


def with_seed(setting: Setting, seed: int) -> Setting:
    """The setting of a round."""
    return replace(setting, seed=seed)
